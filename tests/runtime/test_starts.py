"""The noise of a start, and a cold start of several evaluations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ofp_edge.errors import OfpError, RigError
from ofp_edge.manifest import TimeRow
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import ChunkReady, PlanStarted
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.sampler import shipped_scheme
from ofp_edge.start import Start
from tests.runtime.seeing import SIZE, SPEC, WITH_LADDER, eps, flat, seeing
from tests.runtime.standins import DT, ROWS, make_chunk, make_runners


def test_a_cold_start_draws_as_much_noise_as_the_policy_says() -> None:
    for noise in (0.0, 0.3, 1.0, 2.0):
        chunk = seeing(Start(noise_cold=noise)).infer(0)
        np.testing.assert_allclose(flat(chunk), noise * eps() + 0.5, rtol=1e-5, atol=1e-6)


def test_a_warm_start_mixes_its_own_noise_with_the_last_plan() -> None:
    previous = make_chunk(SPEC, -3 * DT, value=0.12)
    shifted = 0.3 * previous.shifted_normalised(3).reshape(-1)
    for noise in (0.0, 0.3, 1.0):
        chunk = seeing(Start(noise_warm=noise)).infer(0, previous)
        z = 0.7 * noise * eps() + shifted
        np.testing.assert_allclose(flat(chunk), z + 0.7 * 0.5, rtol=1e-5, atol=1e-6)


def test_a_start_from_noise_draws_all_of_it_wherever_its_ladder_begins() -> None:
    """A diffusion sampler's first step need not be the noisiest one that training knows."""
    late = TimeRow("ladder", 0.1, 1.0, (*ROWS[0].row[:-1], 0.9))
    for noise in (1.0, 0.5):
        scheme = shipped_scheme((late,), 1, Start(noise_cold=noise))
        inference = Inference(SPEC, *make_runners(SPEC), (late,), 3, scheme=scheme)
        inference.observe(0, {"state": np.array([0.5, 1, 2, 3], np.float32)})
        np.testing.assert_allclose(
            flat(inference.infer(0)), noise * eps() + 0.9 * 0.5, rtol=1e-5, atol=1e-6
        )


def test_without_noise_every_seed_gives_the_same_chunk() -> None:
    still = Start(noise_cold=0.0, noise_warm=0.0)
    first, second = (seeing(still, seed=seed) for seed in (1, 2))
    one, other = first.infer(0), second.infer(0)
    np.testing.assert_array_equal(flat(one), flat(other))
    np.testing.assert_array_equal(flat(first.infer(DT, one)), flat(second.infer(DT, other)))


def test_the_noise_of_a_start_is_not_that_of_the_refining_step() -> None:
    loud, quiet = (seeing(Start(noise_cold=x), nfe=2).infer(0) for x in (1.0, 0.0))
    rng = np.random.Generator(np.random.PCG64(3))
    first, fresh = (rng.standard_normal(SIZE, dtype=np.float32) for _ in range(2))
    t = next(row.t for row in ROWS if row.name == "refine")
    for chunk, noise in ((loud, 1.0), (quiet, 0.0)):
        answer = noise * first + 0.5
        expected = (1 - t) * fresh + t * answer + (1 - t) * 0.5
        np.testing.assert_allclose(flat(chunk), expected, rtol=1e-4, atol=1e-5)


def test_only_a_cold_start_walks_the_cold_ladder() -> None:
    inference = seeing(Start(cold_nfe=4, noise_cold=0.5))
    chunk = inference.infer(0)
    np.testing.assert_allclose(flat(chunk), 0.5 * eps() + 4 * 0.25 * 0.5, rtol=1e-5, atol=1e-6)
    assert (inference.timings.nfe, inference.timings.evaluations) == (4, 4)
    inference.infer(DT, chunk)
    assert inference.started_warm and inference.timings.nfe == 1
    assert inference.scheme.nfe == 1


def test_a_cold_start_takes_the_larger_number_of_evaluations_and_guards_among_them() -> None:
    inference = seeing(Start(cold_nfe=4), nfe=2, guard=3)
    chunk = inference.infer(0)
    assert (inference.timings.nfe, inference.timings.evaluations) == (4, 12)
    inference.infer(DT, chunk)
    assert inference.timings.nfe == 2


def test_an_optional_refining_step_counts_after_either_start() -> None:
    inference = seeing(Start(cold_nfe=4), nfe="auto")
    chunk = inference.infer(0)
    inference.refine(0)
    assert inference.timings.nfe == 5
    inference.infer(DT, chunk)
    inference.refine(DT)
    assert inference.timings.nfe == 2


@pytest.mark.parametrize("cold_nfe", [2, 3, 5])
def test_another_cold_ladder_than_was_compiled_is_refused(cold_nfe: int) -> None:
    with pytest.raises(OfpError, match=f"--cold-nfe {cold_nfe}: expected 1 or 4"):
        shipped_scheme(WITH_LADDER, 1, Start(cold_nfe=cold_nfe))
    with pytest.raises(OfpError, match="expected 1, fixed when"):
        shipped_scheme(ROWS, 1, Start(cold_nfe=cold_nfe))
    assert len(shipped_scheme(WITH_LADDER, 1, Start(cold_nfe=1)).cold) == 1


@pytest.mark.parametrize(
    "given, words",
    [
        ({"noise_cold": -0.1}, "--noise-cold: expected 0 to 2, got -0.1"),
        ({"noise_warm": 2.5}, "--noise-warm: expected 0 to 2, got 2.5"),
        ({"noise_cold": float("nan")}, "--noise-cold: expected 0 to 2, got nan"),
        ({"noise_warm": float("inf")}, "--noise-warm"),
        ({"cold_nfe": 0}, "--cold-nfe: expected 1 to 16 evaluations, got 0"),
        ({"cold_nfe": 17}, "--cold-nfe"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(given: dict[str, float], words: str) -> None:
    with pytest.raises(OfpError, match=words):
        Start().with_(**given)  # type: ignore[arg-type]


def test_what_is_not_given_stays() -> None:
    own = Start(cold_nfe=4, noise_cold=0.5, noise_warm=0.0)
    assert own.with_() == own
    assert own.with_(noise_warm=0.2) == replace(own, noise_warm=0.2)
    assert own.with_(noise_cold=0.0).noise_cold == 0.0


def answers(t_obs_ns: int) -> list[PlanStarted | ChunkReady]:
    return [PlanStarted(t_obs_ns, t_obs_ns), ChunkReady(make_chunk(SPEC, t_obs_ns))]


def test_the_first_plan_acts_at_the_cold_latency_and_later_ones_at_theirs() -> None:
    limit = (SPEC.plan_steps - 1) * DT
    controller = Controller(SPEC, DT, limit, cold_latency_ns=3 * DT)
    commands = [controller.step(0), controller.step(DT, answers(0))]
    assert commands[0].order is not None and commands[0].order.latency_ns == 3 * DT
    commands += [controller.step(k * DT) for k in (2, 3)]
    assert [x.kind for x in commands] == ["hold", "hold", "hold", "act"]
    assert commands[3].index == 3.0 and controller.counters.misses == 0
    followed = [controller.step(4 * DT, answers(4 * DT)), controller.step(5 * DT)]
    assert [x.t_obs_ns for x in followed] == [0, 4 * DT]


def test_a_cold_latency_below_the_latency_is_refused() -> None:
    limit = (SPEC.plan_steps - 1) * DT
    for cold_ns in (DT, 99 * DT):
        with pytest.raises(RigError, match="cold_latency_ms"):
            Controller(SPEC, 2 * DT, limit, cold_latency_ns=cold_ns)
    with pytest.raises(RigError, match="max_plan_age_ms"):
        Controller(SPEC, 0, SPEC.n_action_steps * DT, cold_latency_ns=DT)
