"""Open everything a run needs, in order, and close it in reverse: bundle, rig, cameras, robot."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ofp_edge import __version__
from ofp_edge.bundle import Bundle
from ofp_edge.fields.text import instructions_of
from ofp_edge.rig.file import Rig, RobotEntry
from ofp_edge.runtime.camera import Camera
from ofp_edge.runtime.cameras.open import open_camera
from ofp_edge.runtime.control.events import Command
from ofp_edge.runtime.control.loop import ControlLoop
from ofp_edge.runtime.control.marks import Mark, unmarked
from ofp_edge.runtime.control.planner import Planner
from ofp_edge.runtime.control.run_report import RunReport
from ofp_edge.runtime.control.stopping import StopFlag
from ofp_edge.runtime.infer.engine_choice import EngineChoice
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.sampler import Nfe
from ofp_edge.runtime.instruction_input import InstructionInput
from ofp_edge.runtime.log.numbers import Numbers, names_in
from ofp_edge.runtime.log.recording import CalibrationRecorder
from ofp_edge.runtime.log.schemas import LOG_VERSION
from ofp_edge.runtime.log.telemetry import McapLog, NoTelemetry, Several, Telemetry
from ofp_edge.runtime.observer import Observer
from ofp_edge.runtime.robot import Robot, goal_range_of
from ofp_edge.runtime.run_files import RunFiles, make_controller
from ofp_edge.runtime.safety.heartbeat import Heartbeat
from ofp_edge.runtime.safety.stop_input import StopInput
from ofp_edge.runtime.supervisor.supervision import Supervision, supervised_robot
from ofp_edge.start import Start

if TYPE_CHECKING:
    pass

_NOISE = "numpy PCG64, one standard_normal draw of the size of act's z an evaluation"


class Probe(Telemetry, Protocol):
    """A listener to a run: gets rows by `write`, moments by `mark` (marks.py)."""

    def mark(self, moment: str, of: Any, /) -> None:
        """Take a mark; see `Mark`."""


@dataclass(frozen=True)
class Hooks:
    """The listeners to a run. on_start, on_tick: see ControlLoop. on_log_trouble: called once, by
    the log's thread, when the log ends before the run. probe: hears every row and mark."""

    on_start: Callable[[], None] | None = None
    on_tick: Callable[[RunReport, Command], None] | None = None
    on_log_trouble: Callable[[str], None] | None = None
    probe: Probe | None = None


@dataclass
class Session:
    """An open run. Build one with `open_session`."""

    bundle: Bundle
    rig: Rig
    choice: EngineChoice
    nfe: Nfe
    start: Start
    inference: Inference
    observer: Observer
    loop: ControlLoop
    log: McapLog | None
    recorder: CalibrationRecorder | None


@contextlib.contextmanager
def open_cameras(rig: Rig, names: tuple[str, ...]) -> Iterator[dict[str, Camera]]:
    """Start the rig's cameras of these names; close all of them at the end."""
    with contextlib.ExitStack() as stack:
        cameras = {}
        for name in names:
            camera = open_camera(rig.cameras[name], time.monotonic_ns)
            stack.callback(camera.close)
            camera.start()
            cameras[name] = camera
        yield cameras


def make_observer(
    bundle: Bundle, rig: Rig, cameras: dict[str, Camera], mark: Mark = unmarked
) -> Observer:
    """Check the live cameras against the trained ones. Raises SpecMismatch with the figures.

    A frame so old that its plan could not be followed for one step is dropped too, whatever the
    camera's own limit.
    """
    manifest, timing = bundle.manifest, rig.timing
    useful_ms = timing.max_plan_age_ms - timing.latency_ms
    ages = {name: round(min(rig.cameras[name].max_age_ms, useful_ms) * 1e6) for name in cameras}
    frozen = {name: x for name in cameras if (x := rig.cameras[name].frozen_after) is not None}
    return Observer(
        bundle.spec,
        cameras,
        manifest.cameras,
        manifest.camera_tolerance,
        ages,
        frozen,
        round(timing.max_skew_ms * 1e6),
        mark,
        rig.instruction,
    )


@contextlib.contextmanager
def open_session(
    files: RunFiles, stop: StopFlag | None = None, hooks: Hooks | None = None
) -> Iterator[Session]:
    """Open everything; if a later part refuses, close what was opened.

    The order is from cheap to costly: the robot, the cameras, the engines. At the end the robot is
    stopped and closed first of all. A signal gives up the opening: `stop` raises until the loop
    runs. Raises OfpError (one line) for whatever does not fit.
    """
    hooks = hooks or Hooks()
    mark = unmarked if hooks.probe is None else hooks.probe.mark
    request, bundle, rig, choice = files.request, files.bundle, files.rig, files.choice
    entry = rig.robot
    if request.robot not in (None, entry.driver):
        entry = RobotEntry(str(request.robot))  # the rig's options are its own robot's
    if stop is not None:
        stop.raises = True
    with contextlib.ExitStack() as stack, _supervised(entry, bundle, rig) as (robot, supervision):
        if (ends := goal_range_of(robot, bundle.spec)) is not None:
            rig = replace(rig, safety=rig.safety.told_within(bundle.spec, *ends))
        stop_input = None
        if rig.safety.stop_socket is not None:
            stop_input = StopInput(rig.safety.stop_socket, rig.safety.stop_silence_ms)
            stack.callback(stop_input.close)
        instruction_input = None
        if rig.instruction_socket is not None:
            instruction_input = InstructionInput(rig.instruction_socket, bundle.spec.observations)
            stack.callback(instruction_input.close)
        cameras = stack.enter_context(open_cameras(rig, bundle.spec.cameras))
        observer = make_observer(bundle, rig, cameras, mark)
        start = request.start(bundle.manifest.start)
        inference = files.load(
            bundle,
            choice.engine,
            choice.precision,
            threads=choice.threads,
            cpus=choice.cpus,
            seed=request.seed,
            nfe=request.nfe,
            start=start,
            guard=request.guard,
        )
        nfe: Nfe = "auto" if inference.scheme.refining else inference.scheme.nfe
        first_ns = inference.slowest_act_ns
        controller = make_controller(
            bundle.spec,
            rig,
            first_ns if nfe == "auto" else None,
            committed=files.committed,
            foresees=getattr(robot, "foresees", False),
        )
        names = names_in(bundle.spec, getattr(robot, "joint_names", None))
        inference.beyond.names = names
        log, recorder = None, None
        if request.log is not None:
            header = _header(files, rig, nfe, start, first_ns)
            log = McapLog(
                request.log,
                {**header, "names": names},
                request.log_limit_mb << 20,
                hooks.on_log_trouble,
                Numbers(bundle.spec, names),
            )
            stack.callback(log.close)
        if request.record_calibration is not None:
            made_from = {"bundle_sha256": bundle.sha256, "first_seed": request.seed}
            recorder = CalibrationRecorder(request.record_calibration, bundle.spec, made_from)
            stack.callback(recorder.close)
        places = [place for place in (log, recorder, hooks.probe) if place is not None]
        telemetry: Telemetry = Several(*places) if places else NoTelemetry()
        planner = Planner(
            inference,
            observer,
            telemetry,
            max_state_age_ns=round(rig.safety.max_state_age_ms * 1e6),
        )
        stack.callback(lambda: inference.close() if planner.close() else None)
        heartbeat = Heartbeat()
        stack.callback(heartbeat.close)
        loop = ControlLoop(
            inference,
            controller,
            observer,
            robot,
            planner=planner,
            telemetry=telemetry,
            heartbeat=heartbeat,
            stop_input=stop_input,
            instruction_input=instruction_input,
            supervision=supervision,
            max_stall_ns=round(rig.safety.max_stall_ms * 1e6),
            on_start=hooks.on_start,
            on_tick=hooks.on_tick,
            mark=mark,
        )
        yield Session(bundle, rig, choice, nfe, start, inference, observer, loop, log, recorder)


def _supervised(
    entry: RobotEntry, bundle: Bundle, rig: Rig
) -> contextlib.AbstractContextManager[tuple[Robot, Supervision | None]]:
    """A tick that hangs is a fault after max_stall_ms if it ends, and if not, the supervisor's."""
    patience_s = 2 * rig.safety.max_stall_ms / 1e3 + bundle.spec.dt_s
    return supervised_robot(entry, bundle.spec, patience_s)


def _header(
    files: RunFiles, rig: Rig, nfe: Nfe, start: Start, refine_first_ns: int
) -> dict[str, Any]:
    """What a log says of its run. rig: with the robot's own limits."""
    request, bundle, choice = files.request, files.bundle, files.choice
    return {
        "ofp_edge": __version__,
        "log_version": LOG_VERSION,
        "bundle_sha256": bundle.sha256,
        "spec": bundle.spec.to_json(),
        "engine": choice.engine,
        "precision": choice.precision,
        "threads": choice.threads,
        "seed": request.seed,
        "noise": None if bundle.manifest.deterministic else _NOISE,
        "nfe": nfe,
        "start": asdict(start),
        "refine_first_ns": refine_first_ns if nfe == "auto" else None,
        "guard": request.guard,
        "committed": files.committed,
        "instruction": rig.instruction,
        "instructions": list(instructions_of(bundle.spec.observations)) or None,
        "latency_ms": rig.timing.latency_ms,
        "cold_latency_ms": rig.timing.cold_ms,
        "actuation_delay_ms": rig.timing.actuation_delay_ms,
        "max_plan_age_ms": rig.timing.max_plan_age_ms,
        "cross_fade_steps": rig.timing.fade_steps(bundle.spec, committed=files.committed),
        "safety": rig.safety.to_json(),
        "started_unix_ns": time.time_ns(),
    }
