"""Engines cut a state off where the policy does. In INT8 the scale of the input does so before."""

from __future__ import annotations

import numpy as np
import pytest

from ofp_edge.bundle import open_bundle
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.normalize import STATE_BOUND
from ofp_edge.policy.folder import load_policy
from ofp_edge.runtime.infer.inference import Inference
from tests.synthetic import N_POINTS
from tests.targets.conftest import Built


def chunk(inference: Inference, half_ranges: float, built: Built) -> np.ndarray:
    """A cold chunk, where every number of the state lies so far out."""
    known = load_policy(built.policy).statistics["state"]
    low, high = np.array(known.low), np.array(known.high)
    state = ((low + high) / 2 + half_ranges * (high - low) / 2).astype(np.float32)
    points = np.linspace(-0.3, 0.3, 3 * N_POINTS, dtype=np.float32).reshape(3, N_POINTS)
    inference.reseed(3)
    inference.observe(0, {"state": state, "points": points})
    return inference.infer(0).actions


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("engine", ["onnxruntime", "executorch"])
def test_far_beyond_is_what_the_bound_is(built: Built, engine: str, precision: str) -> None:
    choice = Choice(engine=engine, precision=precision)
    inference = open_contestant(built.bundle, choice).inference
    within, at_it, far = (chunk(inference, x, built) for x in (0.0, STATE_BOUND, 1e5))
    np.testing.assert_allclose(far, at_it, atol=1e-5)
    assert np.abs(within - at_it).max() > 1e-3


@pytest.mark.parametrize("side", [-1, 1])
def test_the_manifest_says_where(built: Built, side: int) -> None:
    choice = Choice(engine="onnxruntime", precision="fp32")
    inference = open_contestant(built.bundle, choice).inference
    at_it, inside = (chunk(inference, side * x, built) for x in (STATE_BOUND, 0.99 * STATE_BOUND))
    stated = open_bundle(built.bundle).manifest.state_bounds["state"]
    low, high = np.array(stated.low), np.array(stated.high)
    known = load_policy(built.policy).statistics["state"]
    middle, half = np.add(known.low, known.high) / 2, np.subtract(known.high, known.low) / 2
    np.testing.assert_allclose([low, high], [middle - 1.5 * half, middle + 1.5 * half], rtol=1e-5)
    assert (inside != at_it).any()  # an engine answers the same bit for bit, if it sees the same
