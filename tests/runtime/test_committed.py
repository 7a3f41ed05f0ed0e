"""What a policy is told is committed: what was sent, and what is sent until its plan takes over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ofp_edge.manifest import Committed
from ofp_edge.rig.safety import FieldLimits, SafetyEntry
from ofp_edge.runtime.control.ahead import Ahead
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import (
    ChunkReady,
    Command,
    EpisodeStarted,
    Event,
    NotSent,
    PlannerFree,
    PlanStarted,
)
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.sampler import shipped_scheme
from ofp_edge.runtime.safety.layer import SafetyLayer
from tests.runtime.standins import DT, MS, ROWS, make_chunk, make_runners, make_spec

LATENCY = 2 * DT
LIMITS = SafetyEntry(
    limits={"move": FieldLimits(max_velocity=0.6, max_acceleration=30.0, max_jerk=900.0)},
    max_cut_in_a_row=1000,
)


def make(latency_ns: int = LATENCY, every: int = 3, **changes: Any) -> Controller:
    spec = make_spec(horizon=12, n_action_steps=every)
    return Controller(spec, latency_ns, 11 * DT, committed=True, **changes)


def limited(spec_of: Controller) -> SafetyLayer:
    return SafetyLayer(spec_of.spec, LIMITS)


def drive(
    controller: Controller,
    ticks: int,
    events: Callable[[int], list[Event]] = lambda k: [],
    late_ns: int = 0,
) -> tuple[list[Command], dict[int, Ahead | None]]:
    """Answer each order in the tick after it, by a plan that is nothing like those before."""
    rng = np.random.default_rng(0)
    commands, orders, heard = [], {}, list[Event]()
    for k in range(ticks):
        command = controller.step(k * DT, [*heard, *events(k)])
        commands.append(command)
        heard = []
        if command.order is not None and command.order.plan:
            orders[k] = controller.completed(command.order).ahead
            t_obs = k * DT - late_ns
            chunk = make_chunk(controller.spec, t_obs)
            wild = rng.uniform(-1.2, 1.2, chunk.actions.shape).astype(np.float32)
            heard = [PlanStarted(k * DT, t_obs), ChunkReady(replace(chunk, actions=wild))]
        if command.order is not None:
            heard.append(PlannerFree())
    return commands, orders


@pytest.mark.parametrize("fade", [0, 2])
@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize(
    ("latency", "cold", "every"),
    [(1, 1, 3), (2, 2, 3), (4, 4, 3), (5, 5, 1), (2.5, 2.5, 2), (1, 4, 3), (2, 5, 1), (1.5, 3, 2)],
)
def test_what_is_committed_is_what_is_sent(
    latency: float, cold: float, every: int, safe: bool, fade: int
) -> None:
    """Bit for bit: cut to range and limits, faded, taken over by plans that wait meanwhile."""
    latency_ns = round(latency * DT)
    safety = limited(make()) if safe else None
    cold_ns = round(cold * DT)
    controller = make(latency_ns, every, cold_latency_ns=cold_ns, fade_steps=fade, safety=safety)
    commands, orders = drive(controller, 60)
    told = 0
    for k, ahead in orders.items():
        if ahead is None:
            continue
        found = ahead.committed(k * DT)
        for action, command in zip(found, commands[k : k + len(found)], strict=False):
            np.testing.assert_array_equal(action, command.action)
            told += 1
        assert len(found) in (0, int(np.ceil(latency)))
    first = int(np.ceil(cold))
    assert told >= 18 and [x.kind for x in commands[: first + 1]] == ["hold"] * first + ["act"]
    assert controller.counters.clamped > 10 and (not safe or controller.counters.limited > 10)


def test_an_episodes_first_plan_is_foreseen_at_its_own_latency() -> None:
    controller = make(DT, cold_latency_ns=4 * DT)
    controller.step(0)
    controller.step(DT, [PlanStarted(0, 0), ChunkReady(make_chunk(controller.spec, 0))])
    assert controller.ahead(2 * DT) is None, "the robot holds at this tick still"
    for k in (2, 3):
        assert controller.step(k * DT).kind == "hold"
    ahead = controller.ahead(4 * DT)
    assert ahead is not None and len(ahead.committed(4 * DT)) == 1
    np.testing.assert_array_equal(ahead.committed(4 * DT)[0], controller.step(4 * DT).action)


def test_foreseeing_changes_no_command() -> None:
    found = []
    for committed in (False, True):
        controller = make(fade_steps=2, safety=limited(make()))
        controller = Controller(
            controller.spec, LATENCY, 11 * DT, fade_steps=2, safety=limited(controller),
            committed=committed,
        )  # fmt: skip
        found.append([x.action for x in drive(controller, 40)[0]])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_first_plan_is_told_nothing_and_so_is_one_seen_while_the_robot_held() -> None:
    _, orders = drive(make(), 20)
    (first, nothing), (second, some) = list(orders.items())[:2]
    assert (first, nothing) == (0, None)
    assert some is not None and len(some.committed(second * DT)) == 2
    assert len(some.committed(DT)) == 0  # seen before the first plan took over


def test_nothing_is_known_after_a_hold_an_episode_or_a_skipped_tick() -> None:
    controller = make()
    drive(controller, 12)
    assert controller.ahead(12 * DT) is not None
    assert controller.ahead(13 * DT) is None  # a tick was left out
    controller.step(12 * DT, [EpisodeStarted(12 * DT)])
    assert controller.ahead(13 * DT) is None
    holding = make()
    holding.step(0, [PlanStarted(0, 0), ChunkReady(make_chunk(holding.spec, 0))])
    for k in range(1, 12):
        holding.step(k * DT)
    command = holding.step(12 * DT)
    assert command.kind == "hold" and holding.ahead(12 * DT, decided=True) is None


def test_without_latency_or_unasked_there_is_nothing_to_tell() -> None:
    spec = make_spec(horizon=12, n_action_steps=3)
    for controller in (make(0), Controller(spec, LATENCY, 11 * DT)):
        assert set(drive(controller, 12)[1].values()) == {None}


def test_a_prefix_ends_where_the_followed_plan_would() -> None:
    controller = make(5 * DT)
    controller.step(0, [PlanStarted(0, 0), ChunkReady(make_chunk(controller.spec, 0))])
    for k in range(1, 10):
        controller.step(k * DT)
    ahead = controller.ahead(10 * DT)
    # Past 11 steps nobody follows it: the robot holds then.
    assert ahead is not None and len(ahead.committed(10 * DT)) == 2


def test_between_ticks_it_is_read_as_a_plan_is() -> None:
    controller = make()
    commands, _ = drive(controller, 12)
    ahead = controller.ahead(11 * DT, decided=True)
    assert ahead is not None
    found = ahead.committed(11 * DT - 20 * MS)
    before, now = commands[10].action, commands[11].action
    assert before is not None and now is not None
    np.testing.assert_allclose(found[0][:3], before[:3] + 0.6 * (now - before)[:3], rtol=1e-5)
    assert found[0][3] == now[3]  # the gripper is discrete: the nearer of the two
    assert len(found) == 2


def test_a_command_that_did_not_go_out_is_what_the_robot_did_instead() -> None:
    controller = make()
    commands, _ = drive(controller, 10)
    controller.step(10 * DT, [NotSent()])
    ahead = controller.ahead(10 * DT, decided=True)
    assert ahead is not None
    move, grip = np.split(ahead.committed(9 * DT)[0], [3])
    assert commands[8].action is not None
    assert not move.any()  # a delta that was not sent moves nothing
    np.testing.assert_array_equal(grip, commands[8].action[3:])  # a goal stays


def inference(start_index: int = 0, steps: int = 3) -> Inference:
    spec = replace(make_spec(), start_index=start_index)
    committed = Committed(steps, (0.5,) * spec.action_dim, (0.25,) * spec.action_dim)
    functions, runners = make_runners(spec, told=True)
    made = Inference(spec, functions, runners, ROWS, 0, committed=committed)
    made.observe(0, {"state": np.zeros(4, np.float32)})
    return made


def raw(count: int) -> NDArray[np.float32]:
    return np.linspace(0, 0.6, count * 4, dtype=np.float32).reshape(count, 4)


def test_the_inputs_of_act_are_written_in_its_own_scale() -> None:
    made = inference()
    assert made.prefix is not None
    told, free = made.act.inputs["committed"].reshape(8, 5), made.act.inputs["free"].reshape(8, 4)
    for count in (2, 3, 1):  # one length after another: what was there goes
        chunk = made.infer(0, None, made.prefix.normalised(raw(count)))
        np.testing.assert_allclose(told[:count, :4] * 0.5 + 0.25, raw(count), rtol=1e-6)
        assert told[:, 4].tolist() == [1.0] * count + [0.0] * (8 - count)
        assert free.tolist() == [[0.0] * 4] * count + [[1.0] * 4] * (8 - count)
        assert not told[count:].any()
        np.testing.assert_array_equal(chunk.normalised[:count], told[:count, :4])
        np.testing.assert_array_equal(made.prefix.values, told[:, :4])
        np.testing.assert_array_equal(made.prefix.mask, told[:, 4])
    made.infer(0)
    assert not told.any() and free.all()


@pytest.mark.parametrize("refine", [False, True])
def test_every_evaluation_sees_it_in_z(refine: bool) -> None:
    """Cold, warm, and noised again to refine."""
    made = inference()
    scheme, scale = shipped_scheme(ROWS, "auto" if refine else 1), Committed(3, (1,) * 4, (0,) * 4)
    made = Inference(
        made.spec, made.functions, made.runners, ROWS, 0, committed=scale, scheme=scheme
    )
    made.observe(0, {"state": np.zeros(4, np.float32)})
    seen: list[NDArray[np.float32]] = []
    act = made.act.function  # type: ignore[attr-defined]

    def watched(inputs: Any, outputs: Any) -> None:
        seen.append(inputs["z"].reshape(8, 4).copy())
        act(inputs, outputs)

    made.act.function = watched  # type: ignore[attr-defined]
    plan = made.infer(0, None, raw(2))
    made.infer(3 * DT, plan, raw(3))
    if refine:
        made.refine(3 * DT)
    assert len(seen) == 2 + refine
    for z, count in zip(seen, (2, 3, 3), strict=False):
        np.testing.assert_array_equal(z[:count], raw(count))
        assert not np.isin(z[count:], raw(count)).any()


def test_a_warm_start_fills_what_is_not_committed() -> None:
    previous = make_chunk(inference().spec, -DT, value=0.5)
    made, free = inference(), inference()
    assert made.prefix is not None
    told = made.infer(0, previous, made.prefix.normalised(raw(2)))
    untold = free.infer(0, previous)
    assert made.started_warm and not np.array_equal(told.normalised[:2], untold.normalised[:2])
    np.testing.assert_array_equal(told.normalised[2:], untold.normalised[2:])


def test_no_more_is_told_than_was_trained() -> None:
    made = inference(steps=2)
    assert made.prefix is not None
    assert len(made.prefix.normalised(raw(5))) == 2
    with pytest.raises(ValueError, match="3 committed steps: trained with up to 2"):
        made.infer(0, None, raw(3))
    plain = Inference(made.spec, *make_runners(made.spec), ROWS, 0)
    plain.observe(0, {"state": np.zeros(4, np.float32)})
    with pytest.raises(ValueError, match="not told"):
        plain.infer(0, None, raw(1))


def test_far_outside_of_what_was_demonstrated_it_is_cut() -> None:
    made = inference()
    assert made.prefix is not None
    assert made.prefix.normalised(np.full((1, 4), 50, np.float32)).tolist() == [[2.0] * 4]
