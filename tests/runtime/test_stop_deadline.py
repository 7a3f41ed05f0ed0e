"""From the wish to stop to the robot's stop: at most one period and one tick's work, whenever it
comes, and at most one more command, if that tick was already decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import CameraError, RobotError
from ofp_edge.runtime.control.loop import ControlLoop
from ofp_edge.runtime.control.run_report import Limits
from ofp_edge.runtime.control.stopping import StopFlag
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.stop_input import StopInput
from tests.runtime.safety.test_inputs import send
from tests.runtime.standins import DT, MS, FakeEpisodicRobot, FakeRobot
from tests.runtime.test_loop import Stand

SEND_MS, STATE_MS = 7, 3


class Slow(FakeRobot):
    """Takes its time; `during` is called in the middle of each call. stopped_ns: each stop."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.during: Any = lambda where: None
        self.stopped_ns: list[int] = []

    def state(self) -> RobotState:
        self.clock.now_ns += STATE_MS * MS
        self.during("state")
        return super().state()

    def send(self, action: Any) -> None:
        super().send(action)
        self.clock.now_ns += SEND_MS * MS
        self.during("send")

    def stop(self) -> None:
        super().stop()
        self.stopped_ns.append(self.clock.now_ns)


def run_and_ask(where: str, ask: Any, **options: Any) -> tuple[Stand, StopFlag, int]:
    """Ask in the middle of tick 20: in the robot's state, its send, or half-way to the next."""
    stand = Stand(robot=Slow, **options)
    flag, asked = StopFlag(), list[int]()

    def once(here: str) -> None:
        if here == where and stand.controller.counters.ticks >= 20 and not asked:
            asked.append(stand.clock.now_ns)
            ask(flag)

    def asleep(t_ns: int) -> None:
        if where == "asleep" and stand.controller.counters.ticks == 20:
            stand.clock.now_ns = t_ns - DT // 2
            once("asleep")
        stand.clock.sleep_until(t_ns)

    stand.robot.during = once
    stand.loop.rate._sleep = asleep
    stand.loop.run(Limits(duration_s=30.0), flag)
    assert len(asked) == 1
    return stand, flag, asked[0]


@pytest.mark.parametrize("where", ["state", "send", "asleep"])
@pytest.mark.parametrize("by", ["signal", "message"])
def test_the_robot_is_stopped_within_a_period_and_a_ticks_work(
    where: str, by: str, tmp_path: Path
) -> None:
    stop = StopInput(str(tmp_path / "stop"))

    def ask(flag: StopFlag) -> None:
        if by == "signal":
            flag.set("SIGTERM")
        else:
            for word in (b"go", b"go", b"stop"):
                send(tmp_path / "stop", word)

    stand, _, asked_ns = run_and_ask(where, ask, stop_input=stop)
    stop.close()
    assert 0 <= stand.robot.stopped_ns[0] - asked_ns <= DT + (SEND_MS + STATE_MS) * MS
    after = [t for t, _ in stand.robot.sent if t >= asked_ns]
    assert len(after) <= (where == "state" and by == "signal")
    assert all(t < stand.robot.stopped_ns[0] for t, _ in stand.robot.sent)


def test_between_episodes_it_is_a_poll_of_the_camera() -> None:
    stand = Stand(robot=FakeEpisodicRobot)
    flag, began = StopFlag(), list[int]()

    def silent(timeout_ms: float) -> None:
        stand.planner_clock.now_ns += max(1, round(timeout_ms * MS))
        began.append(stand.clock.now_ns)
        if len(began) > 5:
            flag.set("SIGTERM")

    reset = stand.robot.reset
    stand.robot.reset = lambda seed: (
        reset(seed), seed == 1 and setattr(stand.camera, "read", silent)
    )  # fmt: skip
    report = stand.loop.run(Limits(duration_s=None, episodes=3), flag)
    assert report.stopped_because == "SIGTERM" and stand.robot.seeds == [0, 1]
    assert stand.clock.now_ns - began[5] <= 50 * MS and stand.robot.stops == 1


def test_a_message_between_episodes_is_a_fault_there(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    stand = Stand(robot=FakeEpisodicRobot, stop_input=stop)
    ended = stand.loop.planner.rest
    calls = list[float]()

    def rest(timeout_s: float) -> bool:
        calls.append(timeout_s)
        if len(calls) == 2:  # a look that hangs, after the first episode
            send(tmp_path / "stop", b"stop")
        return len(calls) == 1 and ended(timeout_s)

    stand.loop.planner.rest = rest  # type: ignore[method-assign]
    report = stand.loop.run(Limits(duration_s=None, episodes=3))
    stop.close()
    assert report.fault == "the stop input said stop" and len(calls) == 2
    assert stand.robot.stops == 1 and len(report.successes) == 1


def test_a_look_that_never_ends_is_given_up_in_time() -> None:
    stand = Stand()

    def rest(timeout_s: float) -> bool:
        stand.clock.now_ns += round(timeout_s * 1e9)
        return False

    stand.loop.planner.rest = rest  # type: ignore[method-assign]
    with pytest.raises(CameraError, match="has not ended for 10 s"):
        stand.loop.run(Limits(duration_s=1.0))
    assert stand.robot.stops == 1


def hang_in_send(stand: Stand, ms: float) -> None:
    sent = stand.robot.send

    def slow(action: Any) -> None:
        sent(action)
        if stand.controller.counters.ticks == 20:
            stand.clock.now_ns += round(ms * MS)

    stand.robot.send = slow


def test_a_send_that_outlasts_its_slot_is_counted_and_the_run_goes_on() -> None:
    stand = Stand(max_stall_ns=1000 * MS)
    hang_in_send(stand, 60.0)
    report = stand.loop.run(Limits(duration_s=3.0))
    assert report.slow_sends == 1 and report.fault is None and report.skipped_ticks == 0
    assert len(stand.robot.sent) > 40


def test_a_send_beyond_the_limit_is_a_fault_at_the_next_tick() -> None:
    stand = Stand(max_stall_ns=1000 * MS)
    hang_in_send(stand, 1001.0)
    report = stand.loop.run(Limits(duration_s=30.0))
    assert report.fault == "a tick's work took 1001 ms (max_stall_ms = 1000)"
    assert report.slow_sends == 1 and stand.controller.counters.ticks == 21
    assert stand.robot.stops >= 1


def test_trouble_of_the_robot_is_no_error_when_the_run_was_to_end_anyway() -> None:
    stand, flag = Stand(), StopFlag()

    def gone() -> RobotState:
        flag.set("SIGTERM")  # to both; the robot's process was faster
        raise RobotError("its process was asked to end by SIGTERM.")

    stand.loop.on_tick = lambda report, command: (
        setattr(stand.robot, "state", gone) if stand.controller.counters.ticks == 20 else None
    )
    report = stand.loop.run(Limits(duration_s=30.0), flag)
    assert report.stopped_because == "SIGTERM" and stand.robot.stops == 1


@pytest.mark.parametrize("cause", [RobotError("the drive refuses"), KeyError("a bug")])
def test_a_stop_that_fails_is_an_error_and_everything_else_is_closed(
    cause: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    stand = Stand()

    def refuse() -> None:
        raise cause

    closed = list[bool]()
    stand.robot.stop = refuse
    stand.loop.planner.close = lambda: bool(closed.append(True))  # type: ignore[method-assign]
    with pytest.raises(RobotError, match="did not take its stop: .*(refuses|a bug)"):
        stand.loop.run(Limits(duration_s=1.0))
    assert closed and stand.loop.report.seconds > 0
    assert ("KeyError" in capsys.readouterr().err) == isinstance(cause, KeyError)


class Told:
    """A supervision that remembers its words."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def beat(self, now_ns: int) -> None:
        self.words.append("beat")

    def pause(self) -> None:
        self.words.append("pause")

    def told(self, trouble: str) -> None:
        self.words.append(f"told {trouble}")

    def at_rest(self) -> None:
        self.words.append("at rest")


def looked_after(**options: Any) -> tuple[ControlLoop, Told]:
    told = Told()
    return Stand(supervision=told, **options).loop, told


def test_the_supervisor_hears_each_tick_begin_and_that_the_robot_took_its_stop() -> None:
    loop, told = looked_after(robot=FakeEpisodicRobot)
    loop.run(Limits(duration_s=None, episodes=2))
    words = np.array(told.words)
    assert list(words[words != "beat"]) == ["pause", "pause", "told "]
    assert (words == "beat").sum() == loop.controller.counters.ticks


def test_in_a_dry_run_there_is_nothing_to_look_after() -> None:
    loop, told = looked_after()
    loop.run(Limits(duration_s=1.0, dry_run=True))
    assert told.words == ["at rest"]
