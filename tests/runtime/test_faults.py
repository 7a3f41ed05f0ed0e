"""What goes wrong in the field, and how each of it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import CameraError, RobotError
from ofp_edge.rig.safety import FieldLimits, SafetyEntry
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.log.telemetry import McapLog
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.runtime.safety.stop_input import StopInput
from tests.runtime.safety.test_inputs import send
from tests.runtime.standins import DT, MS, FakeRobot
from tests.runtime.test_loop import SPEC, Stand


def guarded(**options: Any) -> Stand:
    stand = Stand(**options)
    limits = {"move": FieldLimits(max_velocity=10.0)}
    safety = SafetyLayer(SPEC, SafetyEntry(limits=limits))
    stand.controller = stand.loop.controller = Controller(SPEC, 2 * DT, 8 * DT, safety=safety)
    return stand


def at_tick(stand: Stand, number: int, do: Any) -> None:
    stand.loop.on_tick = lambda report, command: (
        do() if stand.controller.counters.ticks == number else None
    )


def test_an_unplugged_camera_that_comes_back_in_time_costs_nothing() -> None:
    stand = guarded()
    stand.loop.on_tick = lambda report, command: setattr(
        stand.camera, "frozen", 20 <= stand.controller.counters.ticks < 24
    )
    report = stand.loop.run(Limits(duration_s=3.0))
    assert report.fault is None and stand.controller.counters.held == 2, "the first steps"
    times = [t for t, _ in stand.robot.sent]
    assert set(np.diff(times)) == {DT}


def test_a_camera_that_comes_back_during_the_hold_goes_on_from_a_cold_start() -> None:
    stand = guarded()
    stand.loop.on_tick = lambda report, command: setattr(
        stand.camera, "frozen", 20 <= stand.controller.counters.ticks < 25
    )
    report = stand.loop.run(Limits(duration_s=3.0))
    counters = stand.controller.counters
    assert report.fault is None and (counters.abandoned, counters.held) == (1, 3), counters


def test_a_camera_that_stays_away_ends_in_hold_and_stop_within_two_periods_of_the_limit() -> None:
    stand = guarded()
    at_tick(stand, 20, lambda: setattr(stand.camera, "frozen", True))
    report = stand.loop.run(Limits(duration_s=30.0))
    assert "no plan younger than max_plan_age_ms = 400" in (report.fault or "")
    assert stand.clock() - stand.camera._last <= 8 * DT + 2 * DT + DT
    assert stand.robot.stops >= 1


def test_a_camera_whose_ladder_failed_stops_the_robot_and_says_so() -> None:
    stand = guarded()

    def gone(timeout_ms: float) -> Any:
        raise CameraError("camera 'front' is gone after a restart and a reset")

    at_tick(stand, 20, lambda: setattr(stand.camera, "read", gone))
    with pytest.raises(CameraError, match="after a restart"):
        stand.loop.run(Limits(duration_s=30.0))
    assert stand.robot.stops == 1 and stand.loop.planner.close()


def test_a_robot_that_stops_answering_is_stopped_with_a_latched_fault() -> None:
    stand = guarded()

    def fall_silent() -> None:
        last = stand.robot.state()
        stand.robot.state = lambda: last

    at_tick(stand, 20, fall_silent)
    report = stand.loop.run(Limits(duration_s=30.0))
    assert "the robot has not answered for" in (report.fault or "")
    assert stand.controller.step(stand.clock() + 10 * DT).kind == "stop"


def test_a_robot_that_refuses_a_command_is_stopped_and_its_line_is_passed_on() -> None:
    stand = guarded()

    def refuse(action: Any) -> None:
        raise RobotError("servo 3 reports overload")

    at_tick(stand, 20, lambda: setattr(stand.robot, "send", refuse))
    with pytest.raises(RobotError, match="servo 3"):
        stand.loop.run(Limits(duration_s=30.0))
    assert stand.robot.stops == 1


def test_a_stop_from_outside_is_a_latched_fault_at_the_next_tick(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    stand = guarded(stop_input=stop)
    at_tick(stand, 20, lambda: send(tmp_path / "stop", b"stop"))
    report = stand.loop.run(Limits(duration_s=30.0))
    stop.close()
    assert report.fault == "the stop input said stop"
    assert stand.controller.counters.ticks == 21


def test_a_disk_that_is_full_costs_the_log_and_not_a_single_command() -> None:
    log = McapLog(Path("/dev/full"), {})
    stand = guarded(telemetry=log)
    report = stand.loop.run(Limits(duration_s=5.0))
    log.close()
    assert report.fault is None and set(np.diff([t for t, _ in stand.robot.sent])) == {DT}
    assert "space" in log.trouble and log.lost > 0


def test_a_network_that_answers_nan_is_never_followed() -> None:
    stand = guarded()
    answer = stand.act.function

    def nan(inputs: Any, outputs: Any) -> None:
        answer(inputs, outputs)
        if stand.controller.counters.ticks > 20:
            outputs["chunk"][:] = np.nan

    stand.act.function = nan
    report = stand.loop.run(Limits(duration_s=30.0))
    assert stand.controller.counters.refused > 0 and "no plan younger" in (report.fault or "")
    assert all(np.isfinite(action).all() for _, action in stand.robot.sent)


def test_a_picture_is_not_planned_from_with_a_state_of_long_before_it() -> None:
    """A send that blocks: the state was read before it, the picture is taken after it."""
    stand = guarded()
    stand.loop.planner.states.max_apart_ns = 2 * DT
    apart, send, observe = [], stand.robot.send, stand.observer.prepare

    def block(action: Any) -> None:
        stand.clock.now_ns += 3 * DT if stand.controller.counters.ticks % 7 == 0 else 0
        send(action)

    def noted(state: Any, **more: Any) -> Any:
        apart.append(abs(stand.observer.t_obs_ns - state.t_ns))
        return observe(state, **more)

    stand.robot.send, stand.observer.prepare = block, noted
    report = stand.loop.run(Limits(duration_s=4.0))
    assert report.fault is None and len(apart) > 10
    assert stand.observer.counters.stateless > 0 and max(apart) <= 2 * DT


def test_the_first_state_of_a_silent_robot_is_not_waited_for() -> None:
    class Old(FakeRobot):
        def state(self) -> RobotState:
            return RobotState(self.clock() - 500 * MS, super().state().values)

    stand = guarded(robot=Old)
    report = stand.loop.run(Limits(duration_s=30.0))
    assert "has not answered for 500 ms" in (report.fault or "") and not stand.robot.sent
