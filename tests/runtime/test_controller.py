from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ofp_edge.errors import RigError
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import (
    ChunkReady,
    Command,
    EpisodeStarted,
    Event,
    PlannerFree,
    PlanStarted,
)
from ofp_edge.runtime.control.refining import RefineBudget
from tests.runtime.standins import DT, MS, make_chunk, make_spec

SPEC = make_spec(horizon=8, n_action_steps=3)
LATENCY, LIMIT = 2 * DT, 7 * DT


def fresh(latency_ns: int = LATENCY, limit_ns: int = LIMIT) -> Controller:
    return Controller(SPEC, latency_ns, limit_ns)


def answered(t_obs_ns: int, tick_ns: int | None = None, value: float = 0.0) -> list[Event]:
    tick = t_obs_ns if tick_ns is None else tick_ns
    return [PlanStarted(tick, t_obs_ns), ChunkReady(make_chunk(SPEC, t_obs_ns, value))]


def test_a_chunk_takes_over_exactly_at_t_obs_plus_latency_however_early_it_was_ready() -> None:
    controller = fresh()
    kinds = [controller.step(0, answered(0)).kind, controller.step(DT).kind]
    command = controller.step(2 * DT)
    assert kinds == ["hold", "hold"] and command.kind == "act"
    assert (command.t_obs_ns, command.index) == (0, 2.0)
    np.testing.assert_array_equal(command.action, make_chunk(SPEC, 0).actions[2])


def test_without_latency_a_chunk_acts_at_its_own_tick() -> None:
    command = fresh(0).step(0, answered(0))
    assert (command.kind, command.index) == ("act", 0.0)


def test_frames_between_ticks_are_followed_at_the_fractional_index() -> None:
    controller = fresh()
    controller.step(0, [PlanStarted(0, -20 * MS), ChunkReady(make_chunk(SPEC, -20 * MS))])
    controller.step(DT)
    command = controller.step(2 * DT)
    assert command.index == pytest.approx(2.4)
    assert command.action is not None and command.action[0] == pytest.approx(0.024)
    assert command.action[3] == pytest.approx(0.02)  # the gripper is discrete: nearest


def test_replans_every_n_action_steps() -> None:
    controller = fresh()
    due = []
    for k in range(10):
        if controller.plan_due(k * DT):
            due.append(k)
            controller.step(k * DT, answered(k * DT))
        else:
            controller.step(k * DT)
    assert due == [0, 3, 6, 9]


def test_the_old_plan_goes_on_from_the_right_index_when_an_answer_is_late() -> None:
    controller = fresh()
    controller.step(0, answered(0, value=1.0))
    indices = []
    for k in range(1, 8):
        events: list[Event] = [PlanStarted(3 * DT, 3 * DT)] if k == 3 else []
        if k == 7:  # due at tick 5
            events = [ChunkReady(make_chunk(SPEC, 3 * DT, value=2.0))]
        command = controller.step(k * DT, events)
        indices.append((command.t_obs_ns, command.index))
    assert indices[1:] == [(0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (3 * DT, 4)]
    assert controller.counters.misses == 1


def test_an_answer_that_came_with_a_skipped_tick_is_a_miss() -> None:
    controller = fresh()
    controller.step(0)
    command = controller.step(4 * DT, answered(0))  # its tick was 2
    assert command.index == 4 and controller.counters.misses == 1


def test_an_answer_in_time_is_no_miss() -> None:
    controller = fresh()
    controller.step(0, answered(0))
    for k in range(1, 6):
        controller.step(k * DT)
    assert controller.counters.misses == 0


def test_past_its_age_a_plan_is_held_one_period_then_stopped_for_good() -> None:
    controller = fresh()
    controller.step(0, answered(0))
    kinds = [controller.step(k * DT).kind for k in range(1, 11)]
    assert kinds == ["hold"] + 6 * ["act"] + ["hold", "stop", "stop"]
    late = controller.step(11 * DT, answered(11 * DT))
    assert late.kind == "stop" and "max_plan_age_ms = 350" in late.reason
    assert controller.step(13 * DT, [EpisodeStarted(13 * DT)]).kind == "stop"
    assert not controller.plan_due(14 * DT)


def test_without_a_first_plan_it_holds_and_then_stops() -> None:
    controller = fresh()
    kinds = [controller.step(k * DT).kind for k in range(10)]
    assert kinds == 9 * ["hold"] + ["stop"]


def test_a_plan_that_arrives_during_the_hold_saves_the_run_and_starts_cold() -> None:
    controller = fresh()
    controller.step(0, answered(0))
    for k in range(1, 9):
        command = controller.step(k * DT, [PlanStarted(6 * DT, 6 * DT)] if k == 6 else [])
    assert command.kind == "hold"
    assert controller.warm_source is None and controller.plan_due(8 * DT)
    chunk = make_chunk(SPEC, 6 * DT)
    assert controller.step(9 * DT, [ChunkReady(chunk)]).kind == "act"
    assert controller.warm_source is chunk


def test_holding_follows_the_kind_of_each_action() -> None:
    controller = fresh()
    assert controller.step(0).action is None  # absolute grip, nothing sent yet: stay silent
    controller.step(DT, answered(DT, value=0.5))
    for k in range(2, 10):
        command = controller.step(k * DT)
    assert command.kind == "hold" and command.action is not None
    np.testing.assert_allclose(command.action, [0, 0, 0, 0.57], rtol=1e-5)


def test_a_new_episode_forgets_plan_and_warm_start() -> None:
    controller = fresh()
    controller.step(0, answered(0))
    late = ChunkReady(make_chunk(SPEC, 0))
    command = controller.step(3 * DT, [EpisodeStarted(3 * DT), late])
    assert command.kind == "hold" and controller.warm_source is None
    assert controller.counters.dropped == 1


def test_the_newest_plan_is_the_source_of_a_warm_start_before_it_is_followed() -> None:
    controller = fresh()
    events = answered(0)
    controller.step(0, events)
    assert isinstance(events[1], ChunkReady) and controller.warm_source is events[1].chunk


def test_an_older_answer_never_replaces_a_newer_plan() -> None:
    controller = fresh()
    controller.step(DT, [PlanStarted(0, 0), PlanStarted(DT, DT)])
    controller.step(3 * DT, [ChunkReady(make_chunk(SPEC, DT))])
    assert controller.step(4 * DT, [ChunkReady(make_chunk(SPEC, 0))]).t_obs_ns == DT


@pytest.mark.parametrize("number", [np.nan, np.inf, 3e38, -3e38, 1e30])
def test_a_plan_with_what_is_no_action_is_refused(number: float) -> None:
    """Between two of 3e38 and -3e38 there is nothing finite."""
    controller = fresh()
    chunk = make_chunk(SPEC, 0)
    chunk.actions[2, 1] = number
    controller.step(0, [PlanStarted(0, 0), ChunkReady(chunk)])
    assert controller.step(2 * DT).kind == "hold" and controller.counters.refused == 1


@pytest.mark.parametrize("shape", [(8, 3), (6, 4), (8,)])
def test_a_plan_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    controller = fresh()
    chunk = Chunk(0, DT, np.zeros(shape, np.float32), np.zeros((8, 4), np.float32))
    controller.step(0, [PlanStarted(0, 0), ChunkReady(chunk)])
    assert controller.step(2 * DT).kind == "hold" and controller.counters.refused == 1


def test_an_observation_from_the_future_and_a_clock_that_goes_back_are_told() -> None:
    controller = fresh()
    future = 3 * DT
    controller.step(0, [PlanStarted(0, future), ChunkReady(make_chunk(SPEC, future))])
    assert controller.counters.refused == 1 and controller.step(5 * DT).kind == "hold"
    assert controller.step(5 * DT).reason == "the clock went back"


def test_an_answer_given_twice_never_undoes_the_refined_one() -> None:
    controller = fresh()
    first = make_chunk(SPEC, 0, 0.1)
    better = dataclasses.replace(make_chunk(SPEC, 0, 0.2), refined=True)
    controller.step(0, [PlanStarted(0, 0), ChunkReady(first), ChunkReady(better)])
    controller.step(DT, [ChunkReady(first)])
    assert controller.counters.dropped == 1
    command = controller.step(2 * DT)
    np.testing.assert_array_equal(command.action, better.actions[2])


def test_a_refined_chunk_takes_the_place_of_the_first_while_that_waits() -> None:
    controller = Controller(SPEC, LATENCY, LIMIT, refine=RefineBudget(DT))
    first, better = make_chunk(SPEC, 0, 0.1), dataclasses.replace(
        make_chunk(SPEC, 0, 0.2), refined=True
    )  # fmt: skip
    controller.step(0, [PlanStarted(0, 0), ChunkReady(first)])
    controller.step(DT, [ChunkReady(better, refine_ns=DT)])
    assert controller.step(2 * DT).action[0] == pytest.approx(0.22)
    controller.step(3 * DT, [ChunkReady(better, refine_ns=DT)])
    assert (controller.counters.refined, controller.counters.refined_late) == (1, 1)


def test_the_planner_is_given_one_order_at_a_time_and_told_when_it_may_refine() -> None:
    controller = Controller(SPEC, LATENCY, LIMIT, refine=RefineBudget(DT))
    order = controller.step(0).order
    assert order is not None and order.plan and order.warm_from is None
    assert controller.step(DT, answered(0, 0)[:1]).order is None, "still at work"
    assert controller.step(2 * DT, [ChunkReady(make_chunk(SPEC, 0)), PlannerFree()]).order is None
    order = controller.step(3 * DT).order
    assert order is not None and order.warm_from is controller.plan
    assert order.refine_budget_ns == DT * 3 // 2
    last = 3 * DT + LATENCY - DT * 3 // 2  # it would end exactly when it is due
    assert order.may_refine(last, 3 * DT) and not order.may_refine(last + 1, 3 * DT)
    wanted_first = 6 * DT - DT * 3 // 2  # the next plan is due after three steps
    assert not order.may_refine(wanted_first + 1, 10 * DT)


def test_actions_are_cut_to_the_range_of_the_spec_and_counted() -> None:
    command = (controller := fresh(0)).step(0, answered(0, value=3.0))
    np.testing.assert_array_equal(command.action, 1.0)
    assert controller.counters.clamped == 1


@pytest.mark.parametrize(
    ("latency_ns", "limit_ns", "what"),
    [(6 * DT, 8 * DT, "latency_ms"), (-1, LIMIT, "latency_ms"), (LATENCY, 4 * DT, "max_plan_age"),
     (LATENCY, 9 * DT, "max_plan_age")],
)  # fmt: skip
def test_limits_that_no_schedule_can_meet_are_refused(
    latency_ns: int, limit_ns: int, what: str
) -> None:
    with pytest.raises(RigError, match=what):
        fresh(latency_ns, limit_ns)


def random_schedule(seed: int, make: Callable[[], Controller] = fresh) -> None:
    """Drops, late, duplicated and reordered answers, skipped ticks; checks every command."""
    rng = np.random.default_rng(seed)
    controller = make()
    flying: list[tuple[int, Chunk]] = []  # (arrives at, chunk)
    known: dict[int, Chunk] = {}
    arrived_at: dict[int, int] = {}
    tick, stopped_at, newest_act = 0, -1, 0
    trouble = rng.random() < 0.7
    for _ in range(150):
        events: list[Event] = []
        for _, chunk in [x for x in flying if x[0] <= tick]:
            events += [ChunkReady(chunk)] * (1 + int(trouble and rng.random() < 0.1))
            arrived_at.setdefault(chunk.t_obs_ns, tick)
            flying = [x for x in flying if x[0] > tick]
        if trouble and rng.random() < 0.2:
            rng.shuffle(events)  # type: ignore[arg-type]
        if controller.plan_due(tick):
            t_obs = tick - int(rng.integers(0, 40)) * MS
            if t_obs not in known:
                events.append(PlanStarted(tick, t_obs))
                known[t_obs] = make_chunk(SPEC, t_obs, float(rng.uniform(-0.5, 0.5)))
                if not (trouble and rng.random() < 0.15):
                    slow = int(rng.exponential(80)) if trouble else int(rng.integers(0, 60))
                    flying.append((tick + slow * MS, known[t_obs]))
        command = controller.step(tick, events)
        check(command, tick, known, arrived_at, stopped_at)
        if command.kind == "act":
            newest_act = tick
            newer = [
                t for t, at in arrived_at.items()
                if t > (command.t_obs_ns or 0) and t + LATENCY <= tick and at <= tick
            ]  # fmt: skip
            assert not newer or command.t_obs_ns == max(newer), "a due plan was not followed"
        if command.kind == "stop" and stopped_at < 0:
            stopped_at = tick
        skipped = 1 + int(trouble and rng.random() < 0.05) * int(rng.integers(1, 4))
        tick += skipped * DT
    if not trouble:
        assert stopped_at < 0 and controller.counters.misses == 0
    assert newest_act >= 0


def check(
    command: Command, tick: int, known: dict[int, Chunk], arrived: dict[int, int], stopped_at: int
) -> None:
    if stopped_at >= 0:
        assert command.kind == "stop", "a stop is latched"
    if command.kind != "act":
        return
    assert command.t_obs_ns is not None and command.index is not None
    chunk = known[command.t_obs_ns]
    assert arrived[command.t_obs_ns] <= tick, "followed before it was there"
    assert tick >= command.t_obs_ns + LATENCY, "an action before t_obs + L"
    assert tick - command.t_obs_ns <= LIMIT, "an action from a plan past its age"
    assert command.index == (tick - command.t_obs_ns) / DT, "the wrong index"
    nearest = np.array([False, False, False, True])
    np.testing.assert_array_equal(command.action, chunk.at(tick, nearest))


def stops_in_time(make: Callable[[], Controller] = fresh) -> None:
    """The camera goes away at a random moment: stop within two periods of the limit."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        controller, last_seen, tick = make(), 0, 0
        gone = int(rng.integers(1, 40)) * DT
        for _ in range(80):
            if tick < gone and controller.plan_due(tick):
                command = controller.step(tick, answered(tick - (t := int(rng.integers(40)) * MS),
                                                         tick))  # fmt: skip
                last_seen = tick - t
            else:
                command = controller.step(tick)
            if command.kind == "stop":
                break
            tick += DT
        assert command.kind == "stop" and LIMIT < tick - last_seen <= LIMIT + 2 * DT


@pytest.mark.parametrize("block", range(10))
def test_no_random_schedule_breaks_a_promise(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        random_schedule(seed)


def test_stops_within_two_periods_of_the_limit() -> None:
    stops_in_time()


class TakesOverEarly(Controller):
    def __init__(self) -> None:
        super().__init__(SPEC, LATENCY, LIMIT)
        self.latency_ns = LATENCY - DT


class TakesOverLate(Controller):
    def __init__(self) -> None:
        super().__init__(SPEC, LATENCY, LIMIT)
        self.latency_ns = LATENCY + DT


class IgnoresAge(Controller):
    def __init__(self) -> None:
        super().__init__(SPEC, LATENCY, LIMIT)
        self.max_plan_age_ns = LIMIT + DT


class IndexOffByOne(Controller):
    def _act(self, plan: Chunk, now_ns: int) -> Command:
        command = super()._act(plan, now_ns)
        action = plan.at(now_ns + DT, self._nearest)
        return Command("act", action, command.t_obs_ns, command.index)


class ForgetsItsFault(Controller):
    def step(self, now_ns: int, events: list[Event] | tuple[Event, ...] = ()) -> Command:
        if events:
            self.fault = None
        return super().step(now_ns, events)


@pytest.mark.parametrize(
    "mutant", [TakesOverEarly, TakesOverLate, IgnoresAge, IndexOffByOne, ForgetsItsFault]
)
def test_the_random_schedules_catch_a_mutated_controller(mutant: type[Controller]) -> None:
    def make() -> Controller:
        return mutant() if "__init__" in vars(mutant) else mutant(SPEC, LATENCY, LIMIT)

    with pytest.raises(AssertionError):
        for seed in range(200):
            random_schedule(seed, make)
        stops_in_time(make)


def test_an_observation_younger_than_a_tick_that_came_late_is_planned_from() -> None:
    """The tick of time 0 was heard 0.4 periods late, and the frame is 0.2 periods old then."""
    controller = Controller(SPEC, latency_ns=DT, max_plan_age_ns=4 * DT)
    t_obs = DT // 5
    controller.step(0, [PlanStarted(0, t_obs), ChunkReady(make_chunk(SPEC, t_obs))])
    assert controller.counters.refused == 0
    assert [controller.step(k * DT).kind for k in (1, 2)] == ["hold", "act"]
