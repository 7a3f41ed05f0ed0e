"""When a supervisor waits, when it kills the run, and when it brings the robot to rest."""

from __future__ import annotations

import select
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from ofp_edge.runtime.robots.wire import pair
from ofp_edge.runtime.supervisor import process as supervisor
from ofp_edge.runtime.supervisor.line import AT_REST, BEAT, HOST, PAUSE, REST, TOLD, say
from ofp_edge.runtime.supervisor.process import Watch

PATIENCE_S, SLICE_S = 2.0, 0.1
RUN, HOST_PID = 4711, 4712


class Stand:
    """A watch whose time passes in slices; `script` says what happens after which of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.mine, theirs = pair()
        self.killed: list[tuple[int, int]] = []
        self.parent, self.slices, self.now_s = RUN, 0, 0.0
        self.script: dict[int, Any] = {}
        self.later: dict[int, bytes] = {}  # what others than the run say
        self.watch = Watch(theirs, RUN, PATIENCE_S)
        self._theirs = theirs
        patch.setattr(supervisor, "select", self)
        patch.setattr(supervisor, "time", self)
        patch.setattr(supervisor.os, "getppid", lambda: self.parent)
        patch.setattr(supervisor.os, "kill", self._kill)

    def _kill(self, pid: int, number: int) -> None:
        self.killed.append((pid, number))
        if pid == RUN:
            self.die()

    def select(self, *_: Any) -> None:
        self.slices += 1
        self.now_s += SLICE_S
        assert self.slices < 10_000, "it waits for ever"
        if (what := self.script.get(self.slices)) is not None and self.parent == RUN:
            what() if callable(what) else self.mine.send(what)
        if (word := self.later.get(self.slices)) is not None:
            self.mine.send(word)

    def monotonic(self) -> float:
        return self.now_s

    def die(self) -> None:
        """The run's end of the line closes, unless its robot's process holds it, too."""
        self.parent = 1
        if not self.watch._host:
            self.mine.close()

    def close(self) -> None:
        self.mine.close()
        self._theirs.close()


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    made = Stand(monkeypatch)
    yield made
    monkeypatch.undo()
    made.close()


def test_a_robot_at_rest_needs_nobody(stand: Stand) -> None:
    stand.script = {3: BEAT, 9: TOLD, 200: AT_REST}
    assert stand.watch.until_needed() == "" and not stand.killed


@pytest.mark.parametrize("before", [{}, {2: BEAT}, {2: BEAT, 3: TOLD}])
def test_a_run_that_is_gone_before_its_robot_is_at_rest_needs_it(
    before: dict[int, Any], stand: Stand
) -> None:
    stand.script = {**before, 5: stand.die}
    assert stand.watch.until_needed() == "the run is gone" and stand.slices == 5


def test_a_word_said_just_before_the_end_counts(stand: Stand) -> None:
    def last_word() -> None:
        stand.mine.send(AT_REST)
        stand.die()

    stand.script = {5: last_word}
    assert stand.watch.until_needed() == ""


def test_a_run_that_asks_is_served(stand: Stand) -> None:
    stand.script = {5: REST}
    assert stand.watch.until_needed() == "its stop failed"


def test_a_tick_that_hangs_is_given_its_patience_and_then_killed(stand: Stand) -> None:
    stand.script = {5: BEAT, 10: BEAT}
    why = stand.watch.until_needed()
    assert why == "the run hung (no tick for 2 s) and was killed"
    assert stand.killed == [(RUN, signal.SIGKILL)] and stand.slices - 10 == pytest.approx(20, abs=2)


def test_a_machine_that_stood_still_is_no_run_that_hangs(stand: Stand) -> None:
    stand.script = {5: BEAT, 6: lambda: setattr(stand, "now_s", stand.now_s + 3600), 15: BEAT,
                    20: AT_REST}  # fmt: skip
    assert stand.watch.until_needed() == "" and not stand.killed


def test_between_episodes_no_tick_is_due(stand: Stand) -> None:
    stand.script = {5: BEAT, 6: PAUSE, 500: AT_REST}
    assert stand.watch.until_needed() == "" and not stand.killed


@pytest.mark.parametrize("phase", [{}, {1: BEAT}, {1: BEAT, 2: PAUSE}])
def test_a_signal_that_nothing_follows_is_a_run_that_hangs(
    phase: dict[int, Any], stand: Stand
) -> None:
    ticking = {k: BEAT for k in range(11, 2000)} if phase == {1: BEAT} else {}
    stand.script = {**ticking, **phase, 10: bytes([signal.SIGTERM]), 15: bytes([signal.SIGINT])}
    why = stand.watch.until_needed()
    assert why == "the run hung (it had not stopped 2 s after SIGTERM) and was killed"
    assert stand.slices - 10 == pytest.approx(20, abs=2), "a second signal gives no more time"


def test_a_signal_that_is_obeyed_may_take_its_time_to_close(stand: Stand) -> None:
    stand.script = {1: BEAT, 5: bytes([signal.SIGINT]), 8: TOLD, 9: bytes([signal.SIGINT]),
                    500: AT_REST}  # fmt: skip
    assert stand.watch.until_needed() == "" and not stand.killed


def test_a_robots_own_process_may_say_it_when_the_run_is_gone(stand: Stand) -> None:
    stand.script = {1: HOST + b"%d" % HOST_PID, 5: stand.die}
    stand.later = {30: AT_REST}
    assert stand.watch.until_needed() == "" and not stand.killed


def test_a_robots_own_process_that_hangs_without_a_run_is_killed(stand: Stand) -> None:
    stand.script = {1: HOST + b"%d" % HOST_PID, 5: stand.die}
    assert stand.watch.until_needed() == "the run is gone"
    assert stand.killed == [(HOST_PID, signal.SIGKILL)]
    assert stand.slices - 5 == pytest.approx(50, abs=2)


def test_a_child_that_keeps_the_line_open_is_not_a_run_that_lives(stand: Stand) -> None:
    stand.script = {1: BEAT, 5: lambda: setattr(stand, "parent", 1)}
    assert stand.watch.until_needed() == "the run is gone" and stand.slices == 5


def test_words_are_left_out_where_nobody_listens_and_an_end_is_noticed() -> None:
    here, there = pair()
    here.setblocking(False)
    for _ in range(100_000):
        assert say(here, BEAT, waits=False)
        if not select.select([], [here], [], 0)[1]:
            break
    assert not select.select([], [here], [], 0)[1] and say(here, BEAT, waits=False)
    there.close()
    assert not say(here, BEAT)
    here.close()
