from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import Command
from ofp_edge.runtime.control.loop import ControlLoop
from ofp_edge.runtime.observer import Observer
from tests.runtime.schedules import Parts, check_promises, run_on_threads, run_schedule


@pytest.mark.parametrize("block", range(10))
def test_no_random_schedule_breaks_a_promise_of_the_loop(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        check_promises(run_schedule(seed))


@pytest.mark.parametrize("block", range(5))
def test_nor_on_real_threads_and_none_hangs(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        ran = run_on_threads(seed)
        check_promises(ran)
        assert ran.loop.planner.close(), "the planner's thread ended"


def test_the_schedules_are_as_bad_as_they_should_be() -> None:
    """Otherwise the tests above show nothing."""
    total: dict[str, int] = {}
    stopped = 0
    for seed in range(100):
        ran = run_schedule(seed)
        stopped += ran.loop.report.fault is not None
        counters = {**ran.loop.controller.counters.to_json(), **vars(ran.loop.observer.counters),
                    "late_sends": ran.loop.report.late_sends,
                    "skipped_ticks": ran.loop.rate.skipped}  # fmt: skip
        for name, count in counters.items():
            total[name] = total.get(name, 0) + count
    for name in ("misses", "dropped", "abandoned", "stale", "repeated", "future", "late_sends",
                 "skipped_ticks", "refined", "refined_late", "held"):  # fmt: skip
        assert total[name] > 0, (name, total)
    assert 5 < stopped < 95


class IgnoresTheDeadline(Controller):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.latency_ns = 0


class IgnoresTheAge(Controller):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.max_plan_age_ns *= 2


class IndexOffByOne(Controller):
    def _act(self, plan: Chunk, now_ns: int) -> Command:
        command = super()._act(plan, now_ns)
        action = np.clip(plan.at(now_ns + self.spec.dt_ns, self._nearest), self._low, self._high)
        return Command("act", action, command.t_obs_ns, command.index)


class TakesStaleFrames(Observer):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._max_age_ns = dict.fromkeys(self._max_age_ns, 10**12)


class SendsInAnotherSlot(ControlLoop):
    def _obey(self, command: Command, tick_ns: int, dry_run: bool) -> int | None:
        period_ns, self.rate.period_ns = self.rate.period_ns, 10**12
        try:
            return super()._obey(command, tick_ns, dry_run)
        finally:
            self.rate.period_ns = period_ns


class FollowsTheOldest(Controller):
    def _take_over(self, now_ns: int) -> None:
        if self._plans.followed is None:
            super()._take_over(now_ns)


@pytest.mark.parametrize(
    "parts",
    [
        Parts(controller=IgnoresTheDeadline), Parts(controller=IgnoresTheAge),
        Parts(controller=IndexOffByOne),
        Parts(controller=FollowsTheOldest), Parts(observer=TakesStaleFrames),
        Parts(loop=SendsInAnotherSlot),
    ],
    ids=lambda parts: next(
        value.__name__ for value in vars(parts).values() if "test_schedules" in value.__module__
    ),
)  # fmt: skip
def test_a_mutated_loop_is_caught(parts: Parts) -> None:
    with pytest.raises(AssertionError):
        for seed in range(200):
            check_promises(run_schedule(seed, parts))
