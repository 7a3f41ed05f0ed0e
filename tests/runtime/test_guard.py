"""The guarded choice: never the one that stands alone, else the first; it replays."""

from __future__ import annotations

import numpy as np
import pytest

from ofp_edge.errors import OfpError
from ofp_edge.runtime.infer.guard import choose
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.sampler import shipped_scheme
from tests.runtime.standins import DT, ROWS, make_chunk, make_runners, make_spec

SPEC = make_spec()
SIZE = SPEC.horizon * SPEC.action_dim


def seeing(guard: int, nfe: int = 1) -> Inference:
    scheme = shipped_scheme(ROWS, nfe)
    inference = Inference(SPEC, *make_runners(SPEC), ROWS, 3, scheme=scheme, guard=guard)
    inference.observe(0, {"state": np.array([0.5, 1, 2, 3], np.float32)})
    return inference


def two_modes(rng: np.random.Generator, sides: list[float]) -> np.ndarray:
    """A candidate a side, at distance 1 from the middle, spread by a tenth."""
    return np.array(sides, np.float32)[:, None] + 0.1 * rng.normal(size=(len(sides), 16)).astype(
        np.float32
    )


def test_one_between_the_modes_is_passed_over() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        sides = [0.0, *rng.permutation([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0])]
        assert choose(two_modes(rng, sides)) != 0


def test_without_an_outlier_each_side_keeps_most_of_its_share() -> None:
    rng = np.random.default_rng(1)
    right = 0
    for _ in range(1000):
        sides = np.where(rng.random(16) < 0.55, 1.0, -1.0).tolist()
        right += sides[choose(two_modes(rng, sides))] > 0
    assert 0.55 < right / 1000 < 1 - 0.6 * 0.45


def test_a_lonely_first_of_three_is_passed_over() -> None:
    candidates = np.array([[5.0], [0.0], [0.1]], np.float32)
    assert choose(candidates) == 0  # the second-nearest of every one is the far one: no verdict
    assert choose(np.array([[5.0], [0.0], [0.1], [0.2]], np.float32)) == 1


@pytest.mark.parametrize("guard", [-1, 0, 2])
def test_fewer_than_three_noises_cannot_guard(guard: int) -> None:
    with pytest.raises(OfpError, match=f"--guard {guard}: expected 1 .off. or 3 and more"):
        seeing(guard)


def test_a_guarded_cold_start_is_one_of_its_candidates_from_the_same_stream() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    candidates = np.stack([rng.standard_normal(SIZE, dtype=np.float32) for _ in range(8)]) + 0.5
    inference = seeing(8)
    chunk = inference.infer(0)
    expected = candidates[choose(candidates)]
    np.testing.assert_allclose(chunk.normalised.reshape(-1), expected, rtol=1e-6)
    np.testing.assert_allclose(chunk.actions, 2 * chunk.normalised)
    assert inference.timings.evaluations == 8 and inference.act.calls == 8  # type: ignore[attr-defined]
    np.testing.assert_array_equal(seeing(8).infer(0).actions, chunk.actions)


def test_a_warm_start_is_not_guarded() -> None:
    inference = seeing(8)
    inference.infer(0, make_chunk(SPEC, -3 * DT, value=5.0))
    assert inference.started_warm and inference.timings.evaluations == 1


def test_a_guarded_refined_chunk_costs_every_evaluation_so_many_times() -> None:
    inference = seeing(4, nfe=2)
    inference.infer(0)
    assert inference.timings.evaluations == 8


def test_a_candidates_chunk_outlives_the_next_inference() -> None:
    inference = seeing(3)
    first = inference.infer(0)
    before = first.actions.copy(), first.normalised.copy()
    inference.infer(0)
    np.testing.assert_array_equal(first.actions, before[0])
    np.testing.assert_array_equal(first.normalised, before[1])
