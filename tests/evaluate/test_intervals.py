from __future__ import annotations

import numpy as np
import pytest

from ofp_edge.evaluate.intervals import paired_difference, wilson_interval


def test_wilson_agrees_with_published_values() -> None:
    # Newcombe (1998), table I: 81/263, 15/148, 0/20, 1/29.
    for got, expected in (
        (wilson_interval(81, 263), (0.2553, 0.3662)),
        (wilson_interval(15, 148), (0.0624, 0.1605)),
        (wilson_interval(0, 20), (0.0, 0.1611)),
        (wilson_interval(1, 29), (0.0061, 0.1718)),
    ):
        assert got == pytest.approx(expected, abs=6e-5)


def test_wilson_is_symmetric_and_covers_near_one() -> None:
    low, high = wilson_interval(200, 200)
    assert high == 1.0 and low == pytest.approx(1 - wilson_interval(0, 200)[1])
    rng = np.random.default_rng(0)
    hits = 0
    for good in rng.binomial(200, 0.95, size=2000):
        low, high = wilson_interval(int(good), 200)
        hits += low <= 0.95 <= high
    assert 0.93 < hits / 2000 < 0.98


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="5 successes of 4"):
        wilson_interval(5, 4)


def test_paired_interval_is_narrower_than_an_unpaired_one_and_covers() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(400) < 0.3
    first = ~hard
    second = first.copy()
    second[:8] = ~second[:8]
    difference, low, high = paired_difference(first.tolist(), second.tolist())
    assert difference == pytest.approx(np.mean(second) - np.mean(first))
    assert low <= difference <= high and high - low < 0.03


def test_paired_interval_of_equal_runs_is_zero() -> None:
    assert paired_difference([True, False], [True, False]) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="not pairs"):
        paired_difference([True], [True, False])
