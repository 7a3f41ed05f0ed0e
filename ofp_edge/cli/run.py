"""`ofp-edge run`: the policy on the robot, at a fixed rate and a fixed latency."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.cli.run_report import KEYS, run_document, show_run
from ofp_edge.cli.server_options import NO_SERVER, ServerOptions
from ofp_edge.cli.start_options import OWN, StartOptions
from ofp_edge.counted import counted
from ofp_edge.errors import CheckFailed, OfpError
from ofp_edge.files import check_output_file

if TYPE_CHECKING:
    from ofp_edge.runtime.control.run_report import Limits
    from ofp_edge.runtime.session import Session


@dataclass(frozen=True)
class Length:
    """How long to run, and whether the robot moves."""

    duration: Annotated[
        float | None,
        typer.Option(
            help="Seconds to run, or inf. Default: 60, or without limit under --episodes."
        ),
    ] = None
    episodes: Annotated[
        int | None, typer.Option(help="Episodes to run, of a robot that can reset itself.")
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do everything but move the robot.")
    ] = False

    def limits(self, seed: int) -> Limits:
        """OfpError where no run is so long. seed: of the first episode."""
        from ofp_edge.runtime.control.run_report import Limits

        duration, episodes = self.duration, self.episodes
        if episodes is not None and episodes < 1:
            raise OfpError(f"--episodes {episodes}: expected 1 or more.")
        if duration is None and episodes is None:
            duration = 60.0
        if duration is not None and not duration > 0:
            raise OfpError(f"--duration {duration:g}: expected more than 0 s.")
        return Limits(None if duration == math.inf else duration, episodes, self.dry_run, seed)


@dataclass(frozen=True)
class Records:
    """What is kept of the run."""

    log: Annotated[Path | None, typer.Option(help="Write an MCAP log here. Default: none.")] = None
    log_limit_mb: Annotated[
        int,
        typer.Option(
            help="What the log may take of the disk, in at most 16 files: the first, and the "
            "newest of the others. 16 or more."
        ),
    ] = 4096
    require_log: Annotated[
        bool,
        typer.Option(
            "--require-log",
            help="Stop the robot when the log can't be written. Default: go on without.",
        ),
    ] = False
    record_calibration: Annotated[
        Path | None,
        typer.Option(
            help="Write what the policy saw here, at most 2048 moments, for calibrate samples."
        ),
    ] = None

    def check(self, force: bool) -> None:
        """Refuse before anything is opened. OfpError."""
        from ofp_edge.cli.log_options import check_log_options

        check_log_options(self.log, self.log_limit_mb, self.require_log, force)
        if self.record_calibration is not None:
            check_output_file(self.record_calibration, force=force)


@dataclass(frozen=True)
class Thinking:
    """What computes, and how."""

    engine: Annotated[
        str | None,
        typer.Option(help="onnxruntime, executorch, tensorrt. Default: the bundle's own."),
    ] = None
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, int8 … Default: the bundle's own.")
    ] = None
    nfe: Annotated[
        str | None,
        typer.Option(
            help="Network evaluations a chunk: 1, 2 with the refining step, or auto: the refining "
            "step where there is time. Default: the bundle's own."
        ),
    ] = None
    guard: Annotated[
        int,
        typer.Option(help="Noises a cold start chooses among, 3 or more: costs so many chunks."),
    ] = 1
    threads: Annotated[
        int | None,
        typer.Option(help="Compute threads of the engine. Default: the rig's, else the board's."),
    ] = None
    instruction: Annotated[
        str | None,
        typer.Option(help="What a policy that takes an instruction is told. Default: the rig's."),
    ] = None
    no_committed: Annotated[
        bool,
        typer.Option(
            "--no-committed",
            help="Do not tell a policy that was trained with it which actions are committed.",
        ),
    ] = False
    seed: Annotated[int, typer.Option(help="Of the noise, and of the first episode.")] = 0

    def check(self) -> None:
        """Refuse before anything is opened. OfpError."""
        if self.threads is not None and self.threads < 1:
            raise OfpError(f"--threads {self.threads}: expected 1 or more.")
        if self.seed < 0:
            raise OfpError(f"--seed {self.seed}: expected 0 or more.")


@dataclass(frozen=True)
class RealtimeOptions:
    """What is asked of the kernel."""

    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            help="Real-time priority, a core, locked memory; see the rig's realtime table.",
        ),
    ] = False
    require_realtime: Annotated[
        bool,
        typer.Option(
            "--require-realtime",
            help="--realtime, but refuse to run where it can't be had or waking up takes too long.",
        ),
    ] = False


def run(
    output: Output,
    bundle: Annotated[
        Path, typer.Argument(help="Bundle folder; with --policy-server a policy's description.")
    ],
    rig: Annotated[Path, typer.Option(help="The robot's rig file (TOML).")],
    length: Length = Length(),
    records: Records = Records(),
    robot: Annotated[
        str | None, typer.Option(help="package.module:Class in place of the rig's driver.")
    ] = None,
    thinking: Thinking = Thinking(),
    starts: StartOptions = OWN,
    server: ServerOptions = NO_SERVER,
    live: Annotated[bool, typer.Option("--live", help="Show the run in the terminal.")] = False,
    realtime: RealtimeOptions = RealtimeOptions(),
    force: Force = False,
) -> Document:
    """Run a bundle on a robot; Ctrl-C stops it safely. Exit code 3: the stop is not confirmed."""
    records.check(force)
    thinking.check()
    limits = length.limits(thinking.seed)
    from ofp_edge.cli.engines import build_engines
    from ofp_edge.cli.live import LiveView
    from ofp_edge.cli.log_options import log_trouble_teller
    from ofp_edge.cli.realtime import Realtime
    from ofp_edge.cli.remarks import tell_remarks
    from ofp_edge.runtime.control.stopping import stop_on_signals
    from ofp_edge.runtime.infer.sampler import read_nfe
    from ofp_edge.runtime.run_files import Request, read_run
    from ofp_edge.runtime.session import Hooks, open_session

    request = Request(
        bundle,
        rig,
        thinking.engine,
        thinking.precision,
        thinking.threads,
        thinking.seed,
        read_nfe(thinking.nfe),
        thinking.guard,
        robot,
        records.log,
        records.log_limit_mb,
        records.record_calibration,
        thinking.instruction,
        starts.of,
        not thinking.no_committed,
        server.address(),
    )
    kernel = Realtime(
        output.log,
        wanted=realtime.realtime or realtime.require_realtime,
        require=realtime.require_realtime,
    )
    files = read_run(request)
    if request.policy_server is None:
        build_engines(output, files.bundle, files.choice.engine, files.choice.precision)
    view = LiveView(output.log) if live else None
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        hooks = Hooks(
            kernel.beginning(files),
            None if view is None else view.remember,
            log_trouble_teller(output.log, stop if records.require_log else None),
        )
        session = stack.enter_context(open_session(files, stop, hooks))
        tell_remarks(session, output.log)
        if limits.episodes is not None and not session.loop.episodic:
            raise OfpError(
                "--episodes: this robot can't reset itself (it has no reset and outcome). "
                "Give --duration instead."
            )
        choice = session.choice
        if choice.note:
            output.log.print(f"[yellow]note:[/] {escape(choice.note)}", soft_wrap=True)
        if note := _untold(session, request.committed):
            output.log.print(f"[yellow]note:[/] {note}", soft_wrap=True)
        by = f"{choice.engine}, {choice.precision}, {counted(choice.threads, 'thread')}"
        if request.policy_server is not None:
            by = request.policy_server.url
        output.log.print(
            f"running {bundle} ({by}) at "
            f"{session.bundle.spec.control_hz:g} Hz, L = {session.rig.timing.latency_ms:g} ms; "
            "Ctrl-C stops"
        )
        if records.record_calibration is not None and session.loop.episodic:
            from ofp_edge.evaluate.seeds import check_for_calibration

            check_for_calibration(thinking.seed)
        try:
            with contextlib.nullcontext() if view is None else view.of(session):
                session.loop.run(limits, stop)
        finally:
            if stop.reason == "SIGHUP":
                output.hush()
            for place in (session.log, session.recorder):
                if place is not None:
                    place.close()
    values = {**run_document(session, request, length.dry_run), **kernel.to_json()}
    show_run(output, values)
    _judge(output, session)
    return values


def _untold(session: Session, told: bool) -> str:
    """Say where L, and the robot's own delay, are longer than what the policy can be told of; empty
    as a rule."""
    from ofp_edge.rig.horizon import needs

    committed, timing = session.bundle.manifest.committed, session.rig.timing
    asked = needs(session.bundle.spec, round(timing.latency_ms * 1e6), delay_ns=timing.delay_ns)
    needed = asked.bridge_steps
    if not told or committed is None or needed <= committed.steps:
        return ""
    delay = f" and a robot's delay of {timing.actuation_delay_ms:g} ms" * (timing.delay_ns > 0)
    return (
        f"L = {timing.latency_ms:g} ms{delay} is {needed} control steps; the policy is told of the "
        f"first {committed.steps}, as it was trained (train --committed-steps {needed})"
    )


def _judge(output: Output, session: Session) -> None:
    """Exit code 1 where something is missing; CheckFailed after a fault."""
    if session.recorder is not None and session.recorder.trouble:
        output.log.print(f"[yellow]nothing recorded:[/] {session.recorder.trouble}")
        output.exit_code = 1
    if session.log is not None and session.log.trouble:
        output.log.print(f"[yellow]the log is incomplete:[/] {session.log.trouble}")
        output.exit_code = 1
    report = session.loop.report
    if report.fault is not None:
        late = "max_plan_age_ms" in report.fault
        todo = "Compare latency_ms with capture-to-ready, and look at the cameras." if late else ""
        said = f"stopped by a fault after {round(report.seconds, 3):.1f} s: {report.fault}. {todo}"
        raise CheckFailed(said.rstrip())


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "run", run, KEYS)
