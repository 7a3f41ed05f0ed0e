"""Moves one joint through the loop of a run and measures how much later than told it moves."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import OfpError, RobotError
from ofp_edge.rig.file import Rig
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.loop import ControlLoop
from ofp_edge.runtime.control.planner import Planner
from ofp_edge.runtime.control.run_report import Limits
from ofp_edge.runtime.control.stopping import StopFlag
from ofp_edge.runtime.delay.estimate import Delay, estimate
from ofp_edge.runtime.delay.joint import Joint, joint_of
from ofp_edge.runtime.delay.motion import Motion, motion, own_amplitude
from ofp_edge.runtime.delay.record import Plainly, Record, Script
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.kernel.rate import Clock
from ofp_edge.runtime.observer import Observer
from ofp_edge.runtime.robot import Robot, goal_range_of
from ofp_edge.runtime.safety.heartbeat import Heartbeat
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.runtime.safety.stop_input import StopInput
from ofp_edge.runtime.supervisor.supervision import Supervision, supervised_robot
from ofp_edge.spec import PolicySpec

_PLAN_S = 2.0  # a computer that is busy for less goes on with the motion


@dataclass(frozen=True)
class Wish:
    """What is to be moved. joint: of the action vector's numbers, from 0. amplitude: in its unit,
    None: one that suits it. longest_ms: the longest delay that would be found."""

    joint: int = 0
    amplitude: float | None = None
    repeats: int = 5
    longest_ms: float = 500.0


class DelayLoop:
    """The loop that moves the joint, and what it heard. Only `run` moves the robot."""

    def __init__(
        self,
        spec: PolicySpec,
        rig: Rig,
        robot: Robot,
        wish: Wish,
        *,
        supervision: Supervision | None = None,
        stop_input: StopInput | None = None,
        clock: Clock = time.monotonic_ns,
        sleep_until: Callable[[int], None] | None = None,
    ) -> None:
        safety = rig.safety
        if (ends := goal_range_of(robot, spec)) is not None:
            safety = safety.told_within(spec, *ends)
        self.wish, self.spec = wish, _moved_by(spec)
        self.joint = joint_of(self.spec, safety, wish.joint)
        self.motion = _motion(self.spec, safety.limits_of(self.joint.field), self.joint, wish)
        layer = SafetyLayer(self.spec, safety)
        self._turn(robot, safety.narrowed(self.spec))
        self.record = Record(self.joint)
        script = cast(Inference, Script(self.spec, self.joint, self.motion))
        observer = Observer(self.spec, {}, {}, CameraTolerance(), {})
        age_ns = self.spec.plan_steps * self.spec.dt_ns
        self.loop = ControlLoop(
            script,
            Controller(self.spec, 0, age_ns, safety=layer),
            observer,
            Plainly(robot),
            planner=Planner(
                script, observer, self.record, clock, round(safety.max_state_age_ms * 1e6)
            ),
            telemetry=self.record,
            heartbeat=Heartbeat(),
            stop_input=stop_input,
            supervision=supervision,
            max_stall_ns=round(safety.max_stall_ms * 1e6),
            clock=clock,
            sleep_until=sleep_until,
        )
        self._script = cast(Script, script)

    def run(self, stop: StopFlag | None = None) -> list[Delay]:
        """Move the joint and stop the robot; return what each trial says. OfpError, one line, where
        the loop ended before the motion did, or a trial says nothing."""
        report = self.loop.run(Limits(self.motion.whole_s), stop)
        if report.fault is not None:
            raise RobotError(f"stopped by a fault: {report.fault}. Nothing was measured.")
        if not report.stopped_because.endswith("are over"):
            raise OfpError(f"{report.stopped_because}: the robot is stopped; nothing was measured.")
        return self.trials()

    def trials(self) -> list[Delay]:
        """Return what each trial of the record says."""
        began_ns = self._script.began_ns
        if began_ns is None or len(self.record.commands) < 2:
            raise RobotError("no command was sent: nothing was measured.")
        sent = np.array([t for t, _ in self.record.commands], np.int64)
        raw = np.array([x for _, x in self.record.commands])
        told = self.joint.place_of(raw, self.spec.dt_s)
        read = np.array([t for t, _ in self.record.readings], np.int64)
        seen = np.array([x for _, x in self.record.readings])
        found = []
        for trial in range(self.motion.repeats):
            # From the middle of the rest before it: where it began is known, and is at rest.
            first = began_ns + round((self.motion.begins_s(trial) - self.motion.rest_s / 2) * 1e9)
            last = first + round(self.motion.trial_s * 1e9)
            a, b = (x[0] for x in (np.searchsorted(t, [first]) for t in (sent, read)))
            c, d = (x[0] for x in (np.searchsorted(t, [last]) for t in (sent, read)))
            if c - a < 4 or d - b < 4:
                raise RobotError(
                    f"{c - a} commands went out and {d - b} readings came in one trial, expected 4 "
                    "of each: nothing was measured. Measure again with nothing else running."
                )
            found.append(estimate(sent[a:c], told[a:c], read[b:d], seen[b:d], self.wish.longest_ms))
        return found

    def _turn(self, robot: Robot, spec: PolicySpec) -> None:
        """Step the other way where the range ends; refuse where it does on both sides."""
        field, number = self.joint.field, self.joint.place
        if field.kind != "absolute":
            return
        ranges = next(x for x in spec.actions if x.name == field.name)
        ends = sorted((ranges.low[number] * field.scale, ranges.high[number] * field.scale))
        state = robot.state()
        here = float(state.values[self.joint.measured][self.joint.measured_index])
        for sign in (1, -1):
            if ends[0] <= here + sign * self.motion.amplitude <= ends[1]:
                self.motion = replace(self.motion, amplitude=sign * self.motion.amplitude)
                return
        raise OfpError(
            f"--amplitude {abs(self.motion.amplitude):g}: from {here:.3g} it leads out of "
            f"{ends[0]:g}..{ends[1]:g} either way. Give a smaller one."
        )


@contextlib.contextmanager
def open_delay_loop(
    spec: PolicySpec, rig: Rig, wish: Wish, stop: StopFlag | None = None
) -> Iterator[DelayLoop]:
    """Open the rig's robot, supervised, and its stop input, as a run does; yield the loop. At the
    end the robot is stopped and closed first of all. Raises OfpError, one line."""
    rig.safety.require_fits(spec, str(rig.path))
    if stop is not None:
        stop.raises = True
    patience_s = 2 * rig.safety.max_stall_ms / 1e3 + spec.dt_s
    with (
        contextlib.ExitStack() as stack,
        supervised_robot(rig.robot, spec, patience_s) as (robot, supervision),
    ):
        stop_input = None
        if rig.safety.stop_socket is not None:
            stop_input = StopInput(rig.safety.stop_socket, rig.safety.stop_silence_ms)
            stack.callback(stop_input.close)
        yield DelayLoop(spec, rig, robot, wish, supervision=supervision, stop_input=stop_input)


def summary(found: Sequence[Delay]) -> dict[str, Any]:
    """Return medians over the trials, how far apart they are, and each of them. ms."""
    delays = np.array([x.delay_ms for x in found])
    return {
        "delay_ms": float(np.median(delays)),
        "spread_ms": float(delays.max() - delays.min()),
        "dead_ms": float(np.median([x.dead_ms for x in found])),
        "lag_ms": float(np.median([x.lag_ms for x in found])),
        "resolution_ms": float(np.median([x.resolution_ms for x in found])),
        "trials": [{**asdict(x), "delay_ms": x.delay_ms} for x in found],
    }


def _moved_by(spec: PolicySpec) -> PolicySpec:
    """The policy's fields without its cameras, in chunks that are asked for at every tick."""
    steps = max(2, math.ceil(_PLAN_S / spec.dt_s))
    return replace(
        spec, observations=spec.states, n_obs_steps=1, horizon=steps, n_action_steps=1,
        start_index=0,
    )  # fmt: skip


def _motion(spec: PolicySpec, limits: Any, joint: Joint, wish: Wish) -> Motion:
    amplitude = (
        own_amplitude(joint.field, joint.place) if wish.amplitude is None else wish.amplitude
    )
    rest_s = wish.longest_ms / 1e3 + 0.1
    return motion(joint.field, joint.place, limits, amplitude, spec.dt_s, rest_s, wish.repeats)
