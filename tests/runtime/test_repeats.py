"""A follower that stands still: its plan repeats itself, or stays, and is left by more noise."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ofp_edge.runtime.chunk import Chunk, Repeated
from ofp_edge.runtime.control.handover import cross_fade
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.repeats import (
    AT_REST,
    FORGOTTEN,
    NEAR,
    NOWHERE,
    OWED,
    SHAKEN,
    STAYS,
    Repeats,
)
from ofp_edge.runtime.infer.sampler import shipped_scheme
from ofp_edge.spec import ActionField, PolicySpec
from ofp_edge.start import Start
from tests.runtime.seeing import SIZE, SPEC, WITH_LADDER, eps, flat, seeing
from tests.runtime.standins import DT, make_chunk, state_field

STILL = {"state": np.array([0.5, 1, 2, 3], np.float32)}
MOVE = ActionField("move", (1,), "m", "base", "delta", 0.1, (-1.0,), (1.0,), 0.0)
PLACE = ActionField("place", (1,), "m", "base", "absolute", 1.0, (-3.0,), (1.0,))
TWO = PolicySpec((state_field(4),), (MOVE, PLACE), 1, 4, 2, 20.0)


def standing(noise: float, value: float = 0.5) -> tuple[Inference, Chunk]:
    """A follower whose plan is the last one again: 0.3 of it and 0.7 of what it sees, 0.5."""
    inference = seeing(Start(noise_warm=noise))
    inference.observe(DT, STILL)
    plan = np.full((SPEC.horizon, SPEC.action_dim), value, np.float32)
    return inference, inference.infer(DT, Chunk(0, DT, plan, plan))


def test_a_plan_that_repeats_itself_is_followed_by_a_start_from_noise() -> None:
    inference, chunk = standing(0.0, value=0.5)
    np.testing.assert_allclose(flat(chunk), 0.5, atol=1e-5)
    inference.observe(2 * DT, STILL)
    moved = inference.infer(2 * DT, chunk)
    rng = np.random.Generator(np.random.PCG64(3))
    drawn = [rng.standard_normal(SIZE, dtype=np.float32) for _ in range(2)]
    np.testing.assert_allclose(flat(moved), drawn[1] + 0.5, rtol=1e-4, atol=1e-5)
    assert inference.started_warm and inference.timings.nfe == 1  # a replay is told of the plan
    inference.observe(3 * DT, STILL)
    after = inference.infer(3 * DT, moved)  # it changed: there is nothing to leave
    shifted = np.clip(moved.shifted_normalised(1).reshape(-1), -2, 2)
    np.testing.assert_allclose(flat(after), 0.3 * shifted + 0.35, rtol=1e-4, atol=1e-5)


def test_a_plan_that_changes_is_followed_without_noise() -> None:
    inference, chunk = standing(0.0, value=0.9)
    inference.observe(2 * DT, STILL)
    expected = 0.3 * chunk.shifted_normalised(1).reshape(-1) + 0.35
    np.testing.assert_allclose(flat(inference.infer(2 * DT, chunk)), expected, atol=1e-5)


def test_that_a_plan_repeats_is_said_of_the_plan_whatever_else_is_made_between() -> None:
    """One inference makes plans of several streams in turn, as `eval --dataset` does."""
    inference, chunk = standing(0.0)
    assert chunk.repeated.again
    inference.infer(DT)
    inference.infer(DT, make_chunk(SPEC, 0, value=0.9))
    inference.draw_from(5)
    moved = inference.infer(DT, chunk)
    np.testing.assert_allclose(flat(moved), eps(5) + 0.5, rtol=1e-4, atol=1e-5)
    assert not moved.repeated.again
    faded = cross_fade(SPEC, make_chunk(SPEC, 0), chunk, DT, 2)
    assert faded.repeated.again and faded.normalised is chunk.normalised


def plans_of(kind: str) -> list[np.ndarray]:
    """Twelve plans of a follower, whose robot's actions are two of three numbers."""
    rng, way = np.random.default_rng(0), np.full((4, 3), 1.0, np.float32)
    noise = [rng.normal(0, 0.03, (4, 3)).astype(np.float32) for _ in range(12)]
    return {
        "as in int8, near one place": [way * 0.4 + x for x in noise],
        "slowly on": [way * 0.03 * i for i in range(1, 13)],
        "slowly on, as in int8": [way * 0.05 * i + x for i, x in enumerate(noise)],
        "only what is no robot's moves": [way * [0.4, 0.4, i] for i in range(12)],
    }[kind]


PULLS = np.full((4, 2), 0.5, np.float32)


def looked(
    last: Repeated, plan: np.ndarray, before: np.ndarray, raw: np.ndarray = PULLS, *, noisier: bool
) -> Repeated:
    previous = Chunk(0, DT, np.empty(0), before.astype(np.float32), repeated=last)
    return Repeats(TWO).look(plan.astype(np.float32), raw, previous, noisier=noisier)


@pytest.mark.parametrize(
    ("kind", "stands"),
    [("as in int8, near one place", True), ("slowly on", False), ("slowly on, as in int8", False),
     ("only what is no robot's moves", True)],
)  # fmt: skip
def test_plans_that_stay_near_one_repeat_themselves(kind: str, stands: bool) -> None:
    found, plan, last = [], np.zeros((4, 3)), Repeated()
    for now in plans_of(kind):
        last, plan = looked(last, now, plan, noisier=False), now
        found.append(last.again)
    assert any(found) == stands
    if kind.startswith("as in int8"):
        assert found.index(True) == STAYS, "four that stay near the first one of them"
        fresh = looked(last, plan + 0.03, plan, noisier=True)
        assert fresh.stayed == 0, "a fresh one has time to lead away"


def trembling(delta: list[float], place: list[float], spread: float = 0.2) -> list[np.ndarray]:
    """Twelve raw plans (4, 2), far from one another: a delta and a place, by plan, and noise whose
    mean over a plan's steps is none."""
    rng, plans = np.random.default_rng(1), []
    for move, where in zip(delta, place, strict=True):
        noise = rng.normal(0, spread, (2, 2))
        noise = np.concatenate([noise, -noise]).astype(np.float32)
        plans.append(np.float32([move, where]) + noise)
    return plans


@pytest.mark.parametrize(
    ("delta", "place", "stands"),
    [
        ([0.0] * 12, [0.2] * 12, True),
        ([0.05, -0.05] * 6, [0.2, 0.17] * 6, True),
        ([0.15] * 12, [0.2] * 12, False),  # slowly on, by deltas
        ([0.0] * 12, [0.2 + 0.03 * i for i in range(12)], False),  # slowly on, by places
        ([0.0, 0.0, 0.0, 0.6] * 3, [0.2] * 12, False),  # each fourth plan goes somewhere
    ],
)
def test_plans_that_all_command_to_stay_repeat_themselves_however_they_tremble(
    delta: list[float], place: list[float], stands: bool
) -> None:
    plans = trembling(delta, place)
    nearest = min(np.sqrt(np.mean((x - y) ** 2)) for x, y in pairwise(plans))
    assert nearest > NEAR, "so nothing else takes them for a repeat"
    last, found = Repeated(near=plans[0]), []
    for before, now in pairwise(plans):
        last = looked(last, now, before, now, noisier=False)
        found.append(last.again)
        if last.again:
            break
    assert found[-1] == stands
    assert not stands or len(found) == STAYS


def test_a_plan_that_trembles_far_does_not_command_to_stay() -> None:
    assert NOWHERE < AT_REST
    for spread, stands in ((0.5 * AT_REST, True), (2.0 * AT_REST, False)):
        last, plans = Repeated(), trembling([0.0] * 12, [0.2] * 12, spread)
        again = []
        for before, now in pairwise(plans):
            last = looked(last, now, before, now, noisier=False)
            again.append(last.again)
        assert any(again) == stands


def test_one_axis_of_many_that_moves_slowly_is_a_move() -> None:
    """A mean over the axes would hide it."""
    seven = PolicySpec(
        (state_field(4),),
        (replace(MOVE, shape=(7,), low=(-1.0,) * 7, high=(1.0,) * 7),),
        1,
        4,
        2,
        20.0,
    )
    rng, last = np.random.default_rng(0), Repeated()
    plan = np.zeros((4, 7), np.float32)
    for number in range(12):
        before, plan = plan, rng.normal(0, 0.1, (4, 7)).astype(np.float32)
        plan -= plan.mean(0)
        plan[:, 2] += 0.2
        previous = Chunk(0, DT, np.empty(0), before, repeated=last)
        last = Repeats(seven).look(plan, plan, previous, noisier=False)
        assert not last.again, number


def standstills(raw: np.ndarray, count: int = 200, moves_at: int = -1) -> list[int]:
    """How many chunks from more noise follow each repeat of a plan, which `count` chunks repeat but
    while it moves on, for `FORGOTTEN` chunks from `moves_at` on."""
    owed, last, plan = [], Repeated(), np.zeros((4, 2))
    for number in range(count):
        noisier = last.again
        moving = 0 <= number - moves_at < FORGOTTEN + 1
        now = plan + (0.5 if moving and not noisier else 0.0)
        last, plan = looked(last, now, plan, raw, noisier=noisier), now
        if last.again and not noisier:
            owed.append(last.owed)
    return owed


REST = np.array([[0.1, -2.0]] * 4, np.float32)


@pytest.mark.parametrize(
    ("raw", "rests"),
    [
        (REST, True),  # a delta of a tenth, one place
        (REST + np.float32([0.3, 0]), False),  # it pulls
        (REST + np.float32([[0, 0], [0, 0.5], [0, 1], [0, 1.5]]), False),  # another place
        (REST + np.float32([0, 2.9]), True),  # one place, wherever it is
    ],
)
def test_a_standstill_that_comes_back_is_left_by_more_chunks_and_then_let_be(
    raw: np.ndarray, rests: bool
) -> None:
    owed = standstills(raw)
    assert owed[:6] == [*OWED, 1, 1] if rests else set(owed) == {OWED[0]}


def test_a_standstill_after_the_robot_moved_on_is_a_new_one() -> None:
    assert OWED[:3] == (1, 1, 8)
    assert standstills(REST, 30) == [*OWED], "the fourth comes 13 chunks after the first"
    assert standstills(REST, 30, moves_at=13) == [*OWED[:3], *OWED[:2], 8]


def test_a_refined_plan_is_held_against_what_its_first_form_was() -> None:
    """Else a robot that refines would never be told that it stands still."""
    inference = seeing(Start(noise_warm=0.0), nfe="auto")
    inference.observe(DT, STILL)
    plan = np.full((SPEC.horizon, SPEC.action_dim), 0.5, np.float32)
    first = inference.infer(DT, Chunk(0, DT, plan, plan))
    assert first.repeated.again and inference.refine(DT).repeated is first.repeated


def test_only_a_start_with_less_noise_than_training_looks_for_repeats() -> None:
    for noise, looks in ((0.0, True), (0.99, True), (1.0, False), (2.0, False)):
        assert bool(shipped_scheme(WITH_LADDER, 1, Start(noise_warm=noise)).afresh) == looks
    assert shipped_scheme(WITH_LADDER, 1, Start(noise_warm=0.0), warm=False).afresh == ()


def test_what_comes_back_is_shaken() -> None:
    """After the first chunk from noise alone: warm starts with more noise than training draws."""
    inference = seeing(Start(noise_warm=0.0))
    plan = np.full((SPEC.horizon, SPEC.action_dim), 0.5, np.float32)
    shown = Chunk(0, DT, plan, plan, repeated=Repeated(tries=3, owed=2))
    inference.observe(DT, STILL)
    made = inference.infer(DT, shown)
    expected = 0.7 * SHAKEN * eps() + 0.3 * 0.5 + 0.35
    np.testing.assert_allclose(flat(made), expected, rtol=1e-4, atol=1e-5)
    assert made.repeated.owed == 1 and made.repeated.tries == 3
    assert inference.timings.evaluations == inference.timings.nfe == 1


@pytest.mark.parametrize("tries", [1, 2, len(OWED) + 1])
def test_at_first_and_after_all_others_it_is_a_chunk_from_noise_alone(tries: int) -> None:
    inference = seeing(Start(noise_warm=0.0))
    plan = np.full((SPEC.horizon, SPEC.action_dim), 0.5, np.float32)
    shown = Chunk(0, DT, plan, plan, repeated=Repeated(tries=tries, owed=1))
    np.testing.assert_allclose(flat(inference.infer(DT, shown)), eps() + 0.5, rtol=1e-4, atol=1e-5)
