"""The interval covers what it says, for few training seeds too."""

from __future__ import annotations

import numpy as np
import pytest

from ofp_edge.bench.bootstrap import DIFFERENCE, SUCCESS, Values, estimate


def simulated(
    random: np.random.Generator, tasks: int, seeds: int, episodes: int, spread: float
) -> list[list[Values]]:
    """Differences in {-1, 0, 1} of mean 0; `spread`: standard deviation between training seeds."""
    drawn = []
    for _ in range(tasks):
        effects = random.normal(0, spread, seeds)
        drawn.append([
            np.where(random.random(episodes) < 0.2,
                     np.where(random.random(episodes) < 0.5 + 2.5 * effect, 1.0, -1.0), 0.0)
            for effect in effects
        ])  # fmt: skip
    return drawn


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("spread", [0.0, 0.06])
def test_the_interval_covers_the_truth_as_often_as_it_says(tasks: int, spread: float) -> None:
    random, trials = np.random.default_rng(0), 300
    hits = 0
    for trial in range(trials):
        values = simulated(random, tasks, 3, 100, spread)
        found = estimate(values, DIFFERENCE, resamples=500, seed=trial)
        hits += found.low <= 0 <= found.high
    assert 0.90 <= hits / trials <= 1.0


def test_a_plain_bootstrap_of_episodes_would_not() -> None:
    """What the hierarchy is for: with a spread between seeds, episodes alone are too sure."""
    random, trials = np.random.default_rng(0), 200
    hits = 0
    for trial in range(trials):
        flat = [[np.concatenate(simulated(random, 1, 3, 300, 0.06)[0])]]
        found = estimate(flat, DIFFERENCE, resamples=500, seed=trial)
        hits += found.low <= 0 <= found.high
    assert hits / trials < 0.75


def test_says_how_much_comes_from_the_training_seeds() -> None:
    apart = [[np.full(400, 0.0), np.full(400, 1.0), np.full(400, 1.0)]]
    random = np.random.default_rng(0)
    alike = [[(random.random(400) < 0.5).astype(float) for _ in range(3)]]
    assert estimate(apart, SUCCESS).seed_share == pytest.approx(1.0)
    share = estimate(alike, SUCCESS).seed_share
    assert share is not None and share < 0.7
    one = estimate([[np.full(100, 1.0)]], SUCCESS)
    assert one.seed_share is None


def test_all_alike_is_not_certain() -> None:
    few = estimate([[np.zeros(2), np.zeros(2)]], DIFFERENCE)
    many = estimate([[np.zeros(500), np.zeros(500)]], DIFFERENCE)
    assert few.mean == 0 and few.half_width > 0.2
    assert many.half_width < 0.01


def test_every_task_and_training_weighs_the_same() -> None:
    tasks = [[np.ones(10), np.zeros(1000)], [np.ones(10)]]
    assert estimate(tasks, SUCCESS).mean == pytest.approx(0.75)


def test_is_the_same_every_time_and_refuses_nothing() -> None:
    values = simulated(np.random.default_rng(1), 2, 3, 50, 0.05)
    assert estimate(values, DIFFERENCE) == estimate(values, DIFFERENCE)
    for empty in ([], [[]], [[np.zeros(0)]]):
        with pytest.raises(ValueError):
            estimate(empty, SUCCESS)
