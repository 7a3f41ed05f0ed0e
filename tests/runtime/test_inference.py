from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ofp_edge.errors import OfpError, SpecMismatch
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.sampler import Scheme, Step, shipped_scheme
from ofp_edge.spec import PolicySpec
from tests.runtime.standins import DT, FEATURE, ROWS, make_chunk, make_runners, make_spec

SPEC = make_spec()
SIZE = SPEC.horizon * SPEC.action_dim


def seeing(spec: PolicySpec = SPEC, *, seed: int = 3, scheme: Scheme | None = None) -> Inference:
    inference = Inference(spec, *make_runners(spec), ROWS, seed, scheme=scheme)
    inference.observe(0, {"state": np.array([0.5, 1, 2, 3], np.float32)})
    return inference


def noise(seed: int, draws: int = 1) -> list[np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(seed))
    return [rng.standard_normal(SIZE, dtype=np.float32) for _ in range(draws)]


def flat(chunk: Chunk) -> np.ndarray:
    return chunk.normalised.reshape(-1)


def test_a_cold_start_is_noise_and_one_step() -> None:
    chunk = seeing().infer(0)
    np.testing.assert_allclose(flat(chunk), noise(3)[0] + 1.0 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(chunk.actions, 2 * chunk.normalised)


def test_a_warm_start_mixes_noise_with_the_shifted_unclamped_plan() -> None:
    previous = make_chunk(SPEC, -3 * DT, value=0.12)
    inference = seeing()
    chunk = inference.infer(0, previous)
    z = 0.7 * noise(3)[0] + 0.3 * previous.shifted_normalised(3).reshape(-1)
    np.testing.assert_allclose(flat(chunk), z + 0.7 * 0.5, rtol=1e-5)
    assert inference.started_warm


def test_a_plan_that_ran_away_is_not_fed_back() -> None:
    previous = make_chunk(SPEC, -3 * DT, value=-1e6)
    z = 0.7 * noise(3)[0] - 0.3 * 2.0
    np.testing.assert_allclose(flat(seeing().infer(0, previous)), z + 0.35, rtol=1e-4)


def test_the_shift_is_the_rounded_number_of_control_steps() -> None:
    previous = make_chunk(SPEC, -(3 * DT + DT // 3), value=0.12)
    z = 0.7 * noise(3)[0] + 0.3 * previous.shifted_normalised(3).reshape(-1)
    np.testing.assert_allclose(flat(seeing().infer(0, previous)), z + 0.35, rtol=1e-5)


@pytest.mark.parametrize("steps", [SPEC.horizon, SPEC.horizon + 5, -1])
def test_starts_cold_when_nothing_of_the_previous_plan_is_left(steps: int) -> None:
    inference = seeing()
    chunk = inference.infer(0, make_chunk(SPEC, -steps * DT, value=5.0))
    np.testing.assert_array_equal(flat(chunk), flat(seeing().infer(0)))
    assert not inference.started_warm


def test_the_same_seed_replays_exactly_and_another_does_not() -> None:
    def plans(seed: int) -> np.ndarray:
        inference = seeing(seed=seed)
        first = inference.infer(0)
        inference.observe(DT, {"state": np.zeros(4, np.float32)})
        return np.stack([first.actions, inference.infer(DT, first).actions])

    np.testing.assert_array_equal(plans(1), plans(1))
    assert np.abs(plans(1) - plans(2)).max() > 0.1


def test_reseed_starts_the_stream_of_noise_again() -> None:
    inference = seeing(seed=1)
    first = inference.infer(0)
    inference.reseed(1)
    inference.observe(0, {"state": np.array([0.5, 1, 2, 3], np.float32)})
    np.testing.assert_array_equal(inference.infer(0).actions, first.actions)


def test_the_refining_step_renoises_the_first_answer() -> None:
    inference = seeing(scheme=shipped_scheme(ROWS, 2))
    first, fresh = noise(3, 2)
    z = 0.4 * fresh + 0.6 * (first + 0.5)
    np.testing.assert_allclose(flat(inference.infer(0)), z + 0.4 * 0.5, rtol=1e-5)
    assert inference.act.calls == 2  # type: ignore[attr-defined]


def test_a_ladder_walks_on_from_its_own_result_without_new_noise() -> None:
    half = dataclasses.replace(ROWS[0], name="a", r=0.5, row=(0.0, 0.5))
    rest = dataclasses.replace(ROWS[0], name="b", t=0.5, row=(0.5, 0.5))
    inference = seeing(scheme=Scheme((Step(half), Step(rest)), None))
    np.testing.assert_allclose(flat(inference.infer(0)), noise(3)[0] + 0.5, rtol=1e-5)


@pytest.mark.parametrize("nfe", [0, 3, 10])
def test_other_step_counts_are_refused_for_a_bundle(nfe: int) -> None:
    with pytest.raises(OfpError, match="1 .one step. or 2"):
        shipped_scheme(ROWS, nfe)


def test_two_steps_need_the_refining_row() -> None:
    with pytest.raises(OfpError, match="refine"):
        shipped_scheme(ROWS[:2], 2)


def test_history_is_aligned_by_capture_time_and_padded_at_the_start() -> None:
    spec = make_spec(n_obs_steps=3)
    inference = Inference(spec, *make_runners(spec), ROWS, 0)
    features = inference.act.inputs["features"].reshape(3, FEATURE)
    for k, t in enumerate([0, DT // 2, DT, 3 * DT // 2, 2 * DT]):
        inference.observe(t, {"state": np.full(4, k, np.float32)})
        inference.infer(t)
        expected = {0: [0, 0, 0], 1: [0, 0, 1], 2: [0, 0, 2], 3: [0, 1, 3], 4: [0, 2, 4]}[k]
        np.testing.assert_array_equal(features[:, 0], expected)


def test_a_gap_in_the_stream_forgets_the_older_frames() -> None:
    spec = make_spec(n_obs_steps=2)
    inference = Inference(spec, *make_runners(spec), ROWS, 0)
    for k, t in enumerate([0, DT, 5 * DT]):
        inference.observe(t, {"state": np.full(4, k, np.float32)})
    inference.infer(5 * DT)
    features = inference.act.inputs["features"].reshape(2, FEATURE)
    np.testing.assert_array_equal(features[:, 0], [2, 2])


def test_a_reset_forgets_frames() -> None:
    inference = seeing()
    inference.reset()
    with pytest.raises(ValueError, match="no frame"):
        inference.infer(0)


def test_an_old_frame_is_never_taken_for_a_new_one() -> None:
    with pytest.raises(ValueError, match="not newer"):
        seeing().observe(0, {"state": np.zeros(4, np.float32)})


def test_a_chunk_outlives_the_next_inference() -> None:
    inference = seeing()
    first = inference.infer(0)
    before = first.actions.copy(), first.normalised.copy()
    inference.observe(DT, {"state": np.ones(4, np.float32)})
    inference.infer(DT, first)
    np.testing.assert_array_equal(first.actions, before[0])
    np.testing.assert_array_equal(first.normalised, before[1])


def test_a_runner_of_another_shape_is_refused() -> None:
    with pytest.raises(SpecMismatch, match="act z"):
        Inference(make_spec(horizon=9), *make_runners(SPEC), ROWS, 0)


def test_timings_separate_the_engine_from_everything_else() -> None:
    inference = seeing()
    inference.infer(0)
    t = inference.timings
    assert 0 < t.encode_ns < t.observe_ns and 0 < t.act_ns < t.infer_ns
