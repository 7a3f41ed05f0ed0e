"""`ofp-edge profile-loop`: the control loop itself on a rig, from exposure to the sent action."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError
from ofp_edge.files import check_output_file, write_bytes

KEYS = (
    "kind", "bundle", "bundle_sha256", "engine", "precision", "rig", "control_hz", "latency_ms",
    "duration_s", "ticks", "verdict", "budget_ms", "within_budget", "stages",
    "cold_start", "proposed_latency_ms", "schedule", "counts", "cameras", "stopped_because",
    "realtime", "fingerprint", "notes", "report",
)  # fmt: skip
_WARM_UP_S = 1.0


def profile_loop(
    output: Output,
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    rig: Annotated[Path, typer.Option(help="The robot's rig file (TOML). The robot moves.")],
    duration: Annotated[
        float, typer.Option(help="Seconds; 10,000 ticks or 600 s make a verdict.")
    ] = 600.0,
    budget_ms: Annotated[
        float | None,
        typer.Option(help="Exit 1 when p99.9 of camera to action is more than this, ms."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="onnxruntime, executorch. Default: the rig's, else the bundle's."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, int8 … Default: the rig's, else the bundle's.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Compute threads of the engine. Default: the rig's, else the board's."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise, and of the first episode.")] = 0,
    realtime: Annotated[bool, typer.Option("--realtime", help="As `run --realtime`.")] = False,
    report: Annotated[Path, typer.Option("-o", "--output", help="HTML report to write.")] = Path(
        "loop.html"
    ),
    force: Force = False,
) -> Document:
    """Profile the whole control loop: camera to action taken apart, jitter, misses, drops.

    The loop runs as under `run`, and so does the robot.
    """
    check_output_file(report, force=force)
    if not 0 < duration < 1e6:
        raise OfpError(f"--duration {duration:g}: expected more than 0 s.")
    if budget_ms is not None and not budget_ms > 0:
        raise OfpError(f"--budget-ms {budget_ms:g}: expected more than 0 ms.")
    from ofp_edge.cli.engines import build_engines
    from ofp_edge.cli.realtime import Realtime
    from ofp_edge.cli.remarks import tell_remarks
    from ofp_edge.profile.loop_probe import LoopProbe
    from ofp_edge.profile.loop_report import render_loop
    from ofp_edge.profile.loop_summary import summarise_loop
    from ofp_edge.profile.loop_terminal import show_loop
    from ofp_edge.runtime.control.run_report import Limits
    from ofp_edge.runtime.control.stopping import stop_on_signals
    from ofp_edge.runtime.run_files import Request, read_run
    from ofp_edge.runtime.session import Hooks, open_session

    began = time.monotonic()
    kernel = Realtime(output.log, wanted=realtime, require=False)
    files = read_run(Request(bundle, rig, engine, precision, threads, seed))
    build_engines(output, files.bundle, files.choice.engine, files.choice.precision)
    probe = LoopProbe()
    hooks = Hooks(on_start=kernel.beginning(files), probe=probe)
    with stop_on_signals() as stop, open_session(files, stop, hooks) as session:
        opened_s = time.monotonic() - began
        tell_remarks(session, output.log)
        output.log.print(f"running {bundle} for {duration:g} s; the robot moves; Ctrl-C ends it")
        ran = session.loop.run(Limits(duration, None, False, seed), stop)
    if not probe.commands.count:
        raise OfpError(f"not one tick was run: {ran.stopped_because or 'stopped at once'}.")
    first_ns = probe.commands.values()[0][0]
    series = probe.series(first_ns + round(min(_WARM_UP_S, 0.1 * duration) * 1e9))
    cold = probe.series(0)
    cold_start = {
        "open_s": round(opened_s, 3),
        "first_capture_to_ready_ms": _first(cold["capture to ready"]),
        "first_camera_to_action_ms": _first(cold["camera to action"]),
        "warm_up_s": min(_WARM_UP_S, 0.1 * duration),
    }
    values = summarise_loop(
        session,
        series,
        cold_start=cold_start,
        seconds=ran.seconds,
        rig=rig,
        report=report,
        budget_ms=budget_ms,
        out_of_slot=probe.out_of_slot(session.bundle.spec.dt_ns),
        realtime=kernel.to_json()["realtime"],
    )
    write_bytes(report, render_loop(values, series).encode())
    show_loop(output.console, values)
    if values["within_budget"] is False or ran.fault is not None:
        output.exit_code = 1
    return values


def _first(values: object) -> float | None:
    found = list(values)  # type: ignore[call-overload]
    return None if not found else round(float(found[0]) / 1e6, 3)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "profile-loop", profile_loop, KEYS)
