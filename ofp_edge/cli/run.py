"""`ofp-edge run`: the policy on the robot, at a fixed rate and a fixed latency."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import CheckFailed, OfpError
from ofp_edge.files import check_output_file

if TYPE_CHECKING:
    from ofp_edge.runtime.session import Request, Session

KEYS = (
    "bundle", "rig", "engine", "precision", "threads", "nfe", "guard", "seed", "dry_run", "seconds",
    "ticks", "skipped_ticks", "misses", "held", "clamped", "limited", "late_sends", "slow_sends",
    "refined", "stale_frames", "plans", "episodes", "successes", "success", "latency_ms",
    "capture_to_ready_ms", "tick_jitter_us_p99",
    "stopped_because", "log", "log_files", "log_files_deleted", "log_rows_lost", "recorded",
    "skewed_frames", "frozen_frames", "stateless_frames", "camera_remarks", "bridged_readings",
    "realtime", "wakeup_us",
)  # fmt: skip


def run(
    output: Output,
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    rig: Annotated[Path, typer.Option(help="The robot's rig file (TOML).")],
    duration: Annotated[
        float | None,
        typer.Option(
            help="Seconds to run, or inf. Default: 60, or without limit under --episodes."
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(help="Episodes to run, of a robot that can reset itself.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do everything but move the robot.")
    ] = False,
    log: Annotated[Path | None, typer.Option(help="Write an MCAP log here. Default: none.")] = None,
    log_limit_mb: Annotated[
        int,
        typer.Option(
            help="What the log may take of the disk, in at most 16 files: the first, and the "
            "newest of the others. 16 or more."
        ),
    ] = 4096,
    require_log: Annotated[
        bool,
        typer.Option(
            "--require-log",
            help="Stop the robot when the log can't be written. Default: go on without.",
        ),
    ] = False,
    record_calibration: Annotated[
        Path | None,
        typer.Option(
            help="Write what the policy saw here, at most 2048 moments, for calibrate samples."
        ),
    ] = None,
    robot: Annotated[
        str | None, typer.Option(help="package.module:Class in place of the rig's driver.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="onnxruntime, executorch, tensorrt. Default: the bundle's own."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, int8 … Default: the bundle's own.")
    ] = None,
    nfe: Annotated[
        str | None,
        typer.Option(
            help="Network evaluations a chunk: 1, 2 with the refining step, or auto: the refining "
            "step where there is time. Default: the bundle's own."
        ),
    ] = None,
    guard: Annotated[
        int,
        typer.Option(help="Noises a cold start chooses among, 3 or more: costs so many chunks."),
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(help="Compute threads of the engine. Default: the rig's, else the board's."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise, and of the first episode.")] = 0,
    live: Annotated[bool, typer.Option("--live", help="Show the run in the terminal.")] = False,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime", help="Real-time priority, a core, locked memory; see [realtime]."
        ),
    ] = False,
    require_realtime: Annotated[
        bool,
        typer.Option(
            "--require-realtime",
            help="--realtime, but refuse to run where it can't be had or waking up takes too long.",
        ),
    ] = False,
    force: Force = False,
) -> Document:
    """Run a bundle on a robot; Ctrl-C stops it safely. Exit code 3: the stop is not confirmed."""
    from ofp_edge.cli.log_options import check_log_options, tell_log_trouble

    check_log_options(log, log_limit_mb, require_log, force)
    if record_calibration is not None:
        check_output_file(record_calibration, force=force)
    if threads is not None and threads < 1:
        raise OfpError(f"--threads {threads}: expected 1 or more.")
    if seed < 0:
        raise OfpError(f"--seed {seed}: expected 0 or more.")
    if episodes is not None and episodes < 1:
        raise OfpError(f"--episodes {episodes}: expected 1 or more.")
    if duration is None and episodes is None:
        duration = 60.0
    if duration is not None and not duration > 0:
        raise OfpError(f"--duration {duration:g}: expected more than 0 s.")
    if duration == math.inf:
        duration = None
    from ofp_edge.cli.engines import build_engines
    from ofp_edge.cli.live import LiveView
    from ofp_edge.cli.realtime import Realtime
    from ofp_edge.cli.remarks import tell_remarks
    from ofp_edge.runtime.control.run_report import Limits
    from ofp_edge.runtime.control.stopping import stop_on_signals
    from ofp_edge.runtime.infer.sampler import read_nfe
    from ofp_edge.runtime.session import Request, open_session, read_run

    request = Request(
        bundle, rig, engine, precision, threads, seed, read_nfe(nfe), guard, robot, log,
        log_limit_mb, record_calibration,
    )  # fmt: skip
    limits = Limits(duration, episodes, dry_run, seed)
    kernel = Realtime(output.log, wanted=realtime or require_realtime, require=require_realtime)
    files = read_run(request)
    build_engines(output, files.bundle, files.choice.engine, files.choice.precision)
    with stop_on_signals() as stop, open_session(files, stop) as session:
        kernel.attach(session)
        tell_remarks(session, output.log)
        tell_log_trouble(session, output.log, stop if require_log else None)
        if episodes is not None and not session.loop.episodic:
            raise OfpError(
                "--episodes: this robot can't reset itself (it has no reset and outcome). "
                "Give --duration instead."
            )
        choice = session.choice
        if choice.note:
            output.log.print(f"[yellow]note:[/] {escape(choice.note)}", soft_wrap=True)
        output.log.print(
            f"running {bundle} ({choice.engine}, {choice.precision}, {choice.threads} threads) at "
            f"{session.bundle.spec.control_hz:g} Hz, L = {session.rig.timing.latency_ms:g} ms; "
            "Ctrl-C stops"
        )
        if record_calibration is not None and session.loop.episodic:
            from ofp_edge.evaluate.seeds import check_for_calibration

            check_for_calibration(seed)
        try:
            with LiveView(session, output.log) if live else contextlib.nullcontext():
                session.loop.run(limits, stop)
        finally:
            if stop.reason == "SIGHUP":
                output.hush()
            for place in (session.log, session.recorder):
                if place is not None:
                    place.close()
    values = {**_document(session, request, dry_run), **kernel.to_json()}
    _print(output, values)
    if session.recorder is not None and session.recorder.trouble:
        output.log.print(f"[yellow]nothing recorded:[/] {session.recorder.trouble}")
        output.exit_code = 1
    if session.log is not None and session.log.trouble:
        output.log.print(f"[yellow]the log is incomplete:[/] {session.log.trouble}")
        output.exit_code = 1
    if session.loop.report.fault is not None:
        raise CheckFailed(
            f"stopped by a fault after {values['seconds']:.1f} s: {session.loop.report.fault}. "
            "Compare latency_ms with capture-to-ready, and look at the cameras."
        )
    return values


def _document(session: Session, request: Request, dry_run: bool) -> Document:
    report, counters = session.loop.report, session.loop.controller.counters
    good = report.successes
    ready = report.capture_to_ready_ns
    jitter = report.tick_late_ns.percentile(99)
    return {
        "bundle": str(request.bundle),
        "rig": str(request.rig),
        "engine": session.choice.engine,
        "precision": session.choice.precision,
        "threads": session.choice.threads,
        "nfe": session.nfe,
        "guard": request.guard,
        "seed": request.seed,
        "dry_run": dry_run,
        "seconds": round(report.seconds, 3),
        "ticks": counters.ticks,
        "skipped_ticks": report.skipped_ticks,
        "misses": counters.misses,
        "held": counters.held,
        "clamped": counters.clamped,
        "limited": counters.limited,
        "late_sends": report.late_sends,
        "slow_sends": report.slow_sends,
        "refined": counters.refined,
        "stale_frames": session.observer.counters.stale,
        "plans": counters.plans,
        "episodes": len(good),
        "successes": sum(good),
        "success": sum(good) / len(good) if good else None,
        "latency_ms": session.rig.timing.latency_ms,
        "capture_to_ready_ms": {
            name: None if (x := ready.percentile(p)) is None else x / 1e6
            for name, p in (("p50", 50), ("p99", 99), ("max", 100))
        },
        "tick_jitter_us_p99": None if jitter is None else jitter / 1e3,
        "stopped_because": report.stopped_because,
        "skewed_frames": session.observer.counters.skewed,
        "frozen_frames": session.observer.counters.frozen,
        "stateless_frames": session.observer.counters.stateless,
        "bridged_readings": counters.bridged,
        "camera_remarks": {
            name: dict(remarks.counts) for name, remarks in session.observer.remarks.items()
        },
        "log": None if request.log is None else str(request.log),
        "log_files": 0 if session.log is None else session.log.series.files,
        "log_files_deleted": 0 if session.log is None else session.log.series.deleted,
        "log_rows_lost": 0 if session.log is None else session.log.lost,
        "recorded": None
        if (kept := session.recorder) is None
        else {
            "file": str(request.record_calibration),
            "moments": kept.kept,
            "seen": kept.seen,
            "lost": kept.lost,
        },
    }


def _print(output: Output, values: Document) -> None:
    from rich.table import Table

    grid = Table(box=None, show_header=False, title="Episode report", title_justify="left")
    grid.add_column(style="dim")
    grid.add_column()
    ready = values["capture_to_ready_ms"]
    if values["success"] is not None:
        rate = f"{values['successes']} of {values['episodes']} succeeded"
        grid.add_row("episodes", f"{rate} ({100 * values['success']:.0f} %)")
    grid.add_row(
        "ticks", f"{values['ticks']}, {values['skipped_ticks']} skipped, {values['held']} held"
    )
    grid.add_row(
        "commands",
        f"{values['clamped']} clamped to the range, {values['limited']} limited"
        f" by the safety layer, {values['late_sends']} not sent: too late for their slot, "
        f"{values['slow_sends']} sent for longer than it",
    )
    grid.add_row("plans", f"{values['plans']}, {values['misses']} late, "
                 f"{values['refined']} refined")  # fmt: skip
    if ready["p50"] is not None:
        grid.add_row("capture to chunk ready", f"p50 {ready['p50']:.1f} ms, p99 "
                     f"{ready['p99']:.1f} ms; L = {values['latency_ms']:g} ms")  # fmt: skip
    if values["tick_jitter_us_p99"] is not None:
        grid.add_row("tick jitter, p99", f"{values['tick_jitter_us_p99']:.0f} µs")
    grid.add_row("stopped because", values["stopped_because"])
    if values["log"] is not None:
        deleted = values["log_files_deleted"]
        more = f", {values['log_files']} files" if values["log_files"] > 1 else ""
        more += f", {deleted} deleted to make room" if deleted else ""
        grid.add_row("log", f"{values['log']} ({values['log_rows_lost']} rows lost{more})")
    if (kept := values["recorded"]) is not None:
        grid.add_row("for calibration", f"{kept['moments']} of {kept['seen']} moments in "
                     f"{kept['file']} ({kept['lost']} lost)")  # fmt: skip
    output.console.print(grid)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "run", run, KEYS)
