"""A clock that goes back or jumps ahead ends the run at the next tick, never in silence."""

from __future__ import annotations

from typing import Any

import pytest

from ofp_edge.rig.safety import FieldLimits, SafetyEntry
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import EpisodeStarted
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.kernel.rate import Rate, sleep_until
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.layer import SafetyLayer
from tests.runtime.standins import DT, MS, FakeClock, FakeEpisodicRobot, FakeRobot
from tests.runtime.test_loop import SPEC, Stand

S = 1_000 * MS
LATENCY, LIMIT = 2 * DT, 8 * DT


def guarded(robot: Any = None) -> Stand:
    stand = Stand(robot)
    limits = {"move": FieldLimits(max_velocity=10.0)}
    safety = SafetyLayer(SPEC, SafetyEntry(limits=limits))
    stand.controller = stand.loop.controller = Controller(SPEC, LATENCY, LIMIT, safety=safety)
    return stand


def jump_at_tick(stand: Stand, tick: int, by_ns: int) -> None:
    def jump(report: Any, command: Any) -> None:
        if stand.controller.counters.ticks == tick:
            stand.clock.now_ns += by_ns

    stand.loop.on_tick = jump


@pytest.mark.parametrize("back_ns", [30 * S, 10 * DT, DT // 2, 1])
def test_a_clock_that_goes_back_stops_at_once(back_ns: int) -> None:
    stand = guarded()
    jump_at_tick(stand, 20, -back_ns)
    before = stand.clock() + 20 * DT
    report = stand.loop.run(Limits(duration_s=300.0))
    assert report.fault == "the clock went back" and stand.controller.counters.ticks == 21
    assert stand.clock() <= before + DT, "nobody waited for it"
    assert stand.robot.stops >= 1


def test_a_command_whose_tick_is_ahead_of_a_clock_that_went_back_is_not_sent() -> None:
    stand = guarded()
    step, told = stand.controller.step, list[int]()

    def slow(now_ns: int, events: Any) -> Any:
        if stand.controller.counters.ticks == 20:
            stand.clock.now_ns -= 1
            told.append(len(stand.robot.sent))
        return step(now_ns, events)

    stand.controller.step = slow  # type: ignore[method-assign]
    report = stand.loop.run(Limits(duration_s=300.0))
    assert report.fault == "the clock went back" and report.late_sends == 1
    assert told == [len(stand.robot.sent)]


def test_a_clock_that_goes_back_while_the_loop_sleeps_is_not_slept_out() -> None:
    shown = iter([0, 90 * S, 60 * S])  # it is asked, sleeps until 100 s, and wakes too early
    slept: list[float] = []
    import ofp_edge.runtime.kernel.rate as rate

    sleep, rate.time.sleep = rate.time.sleep, slept.append  # type: ignore[assignment]
    try:
        sleep_until(100 * S, lambda: next(shown))
    finally:
        rate.time.sleep = sleep  # type: ignore[assignment]
    assert slept == [100.0, 10.0], "not once more for the 40 s that it would take now"


def test_a_rate_says_a_tick_not_after_the_last_where_the_clock_went_back() -> None:
    clock = FakeClock(10 * S)
    rate = Rate(DT, clock, clock.sleep_until)
    rate.start(10 * S)
    assert [rate.wait(), rate.wait()] == [10 * S, 10 * S + DT]
    clock.now_ns -= 1
    assert rate.wait() <= 10 * S + DT


def test_a_clock_that_goes_back_between_episodes_is_a_fault_too() -> None:
    stand = guarded(FakeEpisodicRobot)
    reset = stand.inference.reset

    def back() -> None:
        reset()
        if stand.robot.seeds == [0, 1]:
            stand.clock.now_ns -= 2 * S
            stand.planner_clock._own = 0

    stand.inference.reset = back  # type: ignore[method-assign]
    report = stand.loop.run(Limits(duration_s=300.0, episodes=3))
    assert report.fault == "the clock went back" and len(report.successes) == 1


def test_a_first_tick_before_its_episode_is_a_fault() -> None:
    controller = Controller(SPEC, LATENCY, LIMIT)
    assert controller.step(70 * S, [EpisodeStarted(100 * S)]).reason == "the clock went back"


@pytest.mark.parametrize(("by_ns", "fault"), [(30 * S, True), (LIMIT + DT, True), (LIMIT, False)])
def test_a_clock_that_jumps_ahead_further_than_a_plan_is_followed_stops(
    by_ns: int, fault: bool
) -> None:
    """Less is a thread that was woken late."""
    stand = guarded()
    jump_at_tick(stand, 20, by_ns)
    report = stand.loop.run(Limits(duration_s=300.0))
    if fault:
        assert f"no tick for {by_ns // MS} ms (max_plan_age_ms = 400): the clock jumped ahead" in (
            report.fault or ""
        )
        assert stand.controller.counters.ticks == 21
    else:
        assert "no tick" not in (report.fault or "")


def test_the_time_between_two_episodes_is_no_jump() -> None:
    controller = Controller(SPEC, LATENCY, LIMIT)
    controller.step(0, [EpisodeStarted(0)])
    controller.step(100 * S, [EpisodeStarted(100 * S)])
    assert controller.fault is None
    controller.step(100 * S + LIMIT)
    assert controller.fault is None
    assert "no tick for" in controller.step(100 * S + 2 * LIMIT + 1).reason


def test_a_robot_whose_stamps_run_ahead_is_stopped_at_its_first_tick_not_when_it_hangs() -> None:
    class Ahead(FakeRobot):
        def state(self) -> RobotState:
            state = super().state()
            return RobotState(state.t_ns + 30 * S, state.values)

    stand = guarded(Ahead)
    report = stand.loop.run(Limits(duration_s=30.0))
    assert "stamped 30000 ms ahead of the clock" in (report.fault or "")
    assert stand.controller.counters.ticks == 1 and not stand.robot.sent


def test_a_robot_that_wakes_the_loop_late_is_not_taken_for_one_that_stamps_ahead() -> None:
    """Its states are as new as they can be; the tick's nominal time is long past."""
    stand = guarded()
    wait = stand.loop.rate.wait

    def late() -> int:
        tick = wait()
        if stand.controller.counters.ticks == 20:
            stand.clock.now_ns += 4 * DT
        return tick

    stand.loop.rate.wait = late  # type: ignore[method-assign]
    report = stand.loop.run(Limits(duration_s=5.0))
    assert report.fault is None and report.skipped_ticks > 0


def test_the_policy_never_sees_a_reading_that_is_not_believed() -> None:
    class Glitch(FakeRobot):
        reads = 0

        def state(self) -> RobotState:
            self.reads += 1
            state = super().state()
            if self.reads in (12, 13, 30):
                state.values["state"][0] = 5.0
            return state

    stand = Stand(Glitch)
    limits = FieldLimits("state", max_velocity=10.0, physical_speed=10.0)
    safety = SafetyLayer(SPEC, SafetyEntry(limits={"move": limits}))
    stand.controller = stand.loop.controller = Controller(SPEC, LATENCY, LIMIT, safety=safety)
    seen: list[float] = []
    observe = stand.inference.observe
    stand.inference.observe = lambda t, arrays: (  # type: ignore[method-assign]
        seen.append(float(arrays["state"][0])), observe(t, arrays))  # fmt: skip
    report = stand.loop.run(Limits(duration_s=2.5))
    assert report.fault is None and stand.controller.counters.bridged == 3
    assert len(seen) > 5 and max(seen) < 1
