"""A command that was not sent, or a tick that was skipped: the limits go by what the robot has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.fields import State
from ofp_edge.rig.safety import FieldLimits, SafetyEntry
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import (
    ChunkReady,
    Command,
    EpisodeStarted,
    Event,
    NotSent,
    PlanStarted,
    StateRead,
)
from ofp_edge.runtime.control.heard import from_row, to_row
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.replay import replay
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.spec import ActionField, ActionKind, PolicySpec
from tests.runtime import test_replay
from tests.runtime.standins import DT, make_chunk
from tests.runtime.test_loop import SPEC, Stand

DT_S = DT / 1e9


def joint(kind: ActionKind) -> PolicySpec:
    hold = None if kind == "absolute" else 0.0
    arm = ActionField("arm", (1,), "rad", "base", kind, 1.0, (-9.0,), (9.0,), hold)
    state = State("q", (1,), "rad", "base", (-9.0,), (9.0,))
    return PolicySpec((state,), (arm,), 1, 8, 4, 20.0)


def machine(kind: ActionKind, limits: FieldLimits) -> Controller:
    """It follows plans at once; a robot at 0."""
    spec = joint(kind)
    return Controller(
        spec, 0, 8 * DT, safety=SafetyLayer(spec, SafetyEntry(limits={"arm": limits}))
    )


def tick(controller: Controller, k: int, wanted: float, *more: Event) -> Command:
    """A tick whose plan says `wanted`."""
    chunk = make_chunk(controller.spec, k * DT)
    chunk.actions[:] = wanted
    state = StateRead(RobotState(k * DT, {"q": np.zeros(1, np.float32)}))
    begun = [EpisodeStarted(0)] if k == 0 else []
    events = [*begun, state, *more, PlanStarted(k * DT, k * DT), ChunkReady(chunk)]
    return controller.step(k * DT, events)


def value(command: Command) -> float:
    assert command.action is not None, command.reason
    return float(command.action[0])


@pytest.mark.parametrize("kind", ["absolute", "delta", "velocity"])
def test_after_commands_that_were_not_sent_the_next_is_one_step_from_the_last_that_was(
    kind: ActionKind,
) -> None:
    controller = machine(kind, FieldLimits("q", max_velocity=1.0, max_acceleration=40.0))
    start = value(tick(controller, 0, 3.0))
    sent = [value(tick(controller, k, 3.0, NotSent())) for k in range(1, 4)]
    if kind == "velocity":  # it goes on as fast as it was told to, here: not at all
        assert sent == [start] * 3 == [1.0] * 3
    else:
        assert sent == [start] * 3 and start == pytest.approx(DT_S)


def test_a_first_command_that_was_not_sent_is_still_the_first() -> None:
    controller = machine("absolute", FieldLimits("q", max_first_step=0.5))
    assert tick(controller, 0, 0.4).kind == "act"
    assert tick(controller, 1, 0.6).kind == "act", "only the first is held against the robot"
    controller = machine("absolute", FieldLimits("q", max_first_step=0.5))
    tick(controller, 0, 0.4)
    command = tick(controller, 1, 0.6, NotSent())
    assert command.kind == "stop" and "max_first_step" in command.reason


def test_a_hold_stays_where_the_robot_was_told_to_be() -> None:
    controller = machine("absolute", FieldLimits("q", max_velocity=1.0))
    sent = value(tick(controller, 0, 3.0))
    tick(controller, 1, 3.0)
    kinds = []
    for k in range(2, 11):  # the plan of the first tick is followed, and none of it is sent
        said = StateRead(RobotState(k * DT, {"q": np.zeros(1, np.float32)}))
        command = controller.step(k * DT, [said, NotSent()])
        kinds.append(command.kind)
    assert kinds == ["act"] * 8 + ["hold"] and value(command) == pytest.approx(sent)


def test_an_episode_forgets_what_was_not_sent_before_it() -> None:
    controller = machine("absolute", FieldLimits("q", max_velocity=1.0))
    tick(controller, 0, 3.0)
    said = StateRead(RobotState(DT, {"q": np.zeros(1, np.float32)}))
    assert controller.step(DT, [EpisodeStarted(DT), NotSent(), said]).action is None


@pytest.mark.parametrize(("kind", "speed"), [("absolute", 0.1), ("delta", 0.1), ("velocity", 0.5)])
def test_after_a_skipped_tick_a_target_begins_from_rest_and_a_velocity_goes_on(
    kind: ActionKind, speed: float
) -> None:
    limits = FieldLimits("q", max_velocity=1.0, max_acceleration=2.0)  # 0.1 rad/s a step
    controller = machine(kind, limits)
    values = [value(tick(controller, k, 5.0)) for k in range(4)]
    after = value(tick(controller, 6, 5.0))
    if kind == "absolute":
        after = (after - values[-1]) / DT_S
    elif kind == "delta":
        after /= DT_S
    assert after == pytest.approx(speed, rel=1e-5)


def test_the_loop_says_what_it_did_not_send() -> None:
    stand = Stand()
    controller = stand.controller
    step, heard = controller.step, list[str]()

    def slow(now_ns: int, events: Any) -> Any:
        stand.clock.now_ns += DT if controller.counters.ticks in (20, 21) else 0
        heard.extend(type(event).__name__ for event in events)
        return step(now_ns, events)

    controller.step = slow  # type: ignore[method-assign]
    report = stand.loop.run(Limits(duration_s=2.0))
    assert report.fault is None and report.late_sends == heard.count("NotSent") > 0


def test_a_dry_run_sends_nothing_and_nothing_is_late() -> None:
    stand = Stand()
    step, heard = stand.controller.step, list[str]()

    def noted(now_ns: int, events: Any) -> Any:
        heard.extend(type(event).__name__ for event in events)
        return step(now_ns, events)

    stand.controller.step = noted  # type: ignore[method-assign]
    report = stand.loop.run(Limits(duration_s=1.0, dry_run=True))
    assert "NotSent" not in heard and report.late_sends == 0 and "StateRead" in heard


def test_a_replay_hears_what_was_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_row(to_row(NotSent()), lambda t_ns, refined: make_chunk(SPEC, t_ns)) == NotSent()
    late = Controller.step

    def slow(self: Controller, now_ns: int, events: Any) -> Command:
        if self.counters.ticks in (20, 21, 33) and stands:
            stands[0].clock.now_ns += DT
        return late(self, now_ns, events)

    stands: list[Stand] = []
    made = Stand.__init__

    def noted(self: Stand, *given: Any, **options: Any) -> None:
        made(self, *given, **options)
        stands.append(self)

    monkeypatch.setattr(Stand, "__init__", noted)
    monkeypatch.setattr(Controller, "step", slow)
    stand = test_replay.run(tmp_path / "run.mcap")
    assert stand.loop.report.late_sends > 0
    stands.clear()
    log = LogReader(tmp_path / "run.mcap")
    rows = [row for _, row in log.rows("/command") if {"event": "unsent"} in row["heard"]]
    assert len(rows) == stand.loop.report.late_sends
    assert replay(log, test_replay.fresh()).same
