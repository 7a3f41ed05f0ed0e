"""A speed is allowed exactly as long as it can still be braked in time, in whole steps."""

import numpy as np
import pytest

from ofp_edge.runtime.safety.braking import fastest, share_within

DT = 0.05


def way(speed: float, brake: float) -> float:
    """Steps of speed dt, each shorter than the last by `brake`, until they are none."""
    step, gone = speed * DT, 0.0
    while step > 0:
        gone, step = gone + step, step - brake
    return gone


@pytest.mark.parametrize("brake", [1e-4, 0.005, 0.3])
def test_the_fastest_speed_stops_exactly_at_the_wall(brake: float) -> None:
    gaps = np.concatenate([np.geomspace(1e-6, 2.0, 60), brake * np.array([1.0, 3.0, 6.0, 10.0])])
    for gap, speed in zip(gaps, fastest(gaps, brake, DT), strict=True):
        assert way(speed, brake) == pytest.approx(gap, rel=1e-9)
        assert way(speed * 1.001, brake) > gap


def test_without_a_limit_one_step_may_end_at_the_wall_and_beyond_it_there_is_no_room() -> None:
    np.testing.assert_allclose(fastest(np.array([0.1, -0.1]), None, DT), [0.1 / DT, 0.0])
    np.testing.assert_array_equal(fastest(np.array([0.0, -0.1]), 0.005, DT), 0.0)


def test_braking_never_needs_more_than_it_may() -> None:
    x, v, brake = 0.0, 0.0, 2.0 * DT * DT
    for _ in range(200):
        new = min(v + 2.0 * DT, float(fastest(np.array([1.0 - x]), brake, DT)[0]))
        assert new >= v - 2.0 * DT - 1e-12
        x, v = x + new * DT, new
    assert x == pytest.approx(1.0, abs=1e-12)


def test_the_share_of_a_step_ends_on_the_sphere_and_never_leaves_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        start = rng.normal(size=3)
        radius = np.linalg.norm(start) * rng.choice([1.0, 1.5])
        step = rng.normal(size=3) * rng.choice([0.01, 3.0])
        share = share_within(start, step, radius)
        end = np.linalg.norm(start + share * step)
        assert 0.0 <= share <= 1.0 and end <= radius * (1 + 1e-6)
        assert share == 1.0 or end == pytest.approx(radius, rel=1e-6)
    assert share_within(np.full(3, 2.0), -np.ones(3), 1.0) == 0.0, "none is within"
    assert share_within(np.zeros(3), np.zeros(3), 1.0) == 1.0
