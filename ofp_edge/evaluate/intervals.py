"""Intervals of a success rate: Wilson's, and the bootstrap of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_Z = {0.9: 1.6448536269514722, 0.95: 1.959963984540054, 0.99: 2.5758293035489004}


def wilson_interval(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a success probability; sound also at 0 and at `episodes` successes.

    Wilson (1927), without continuity correction. confidence: 0.90, 0.95 or 0.99. Raises ValueError
    on counts that are impossible.
    """
    if not 0 <= successes <= episodes or episodes < 1:
        raise ValueError(f"{successes} successes of {episodes} episodes")
    z2, n = _Z[confidence] ** 2, episodes
    rate = successes / n
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the mean of second - first over the same episodes, and its bootstrap interval.

    first, second: one number an episode, or whether it succeeded. They are resampled in pairs
    (percentile bootstrap), so what makes an episode hard for both cancels. Returns (difference,
    low, high). Raises ValueError when the two are not the same episodes.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} episodes are not pairs")
    difference = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    # A resample is a draw of how often each value occurs: of successes there are only three.
    values, counts = np.unique(difference, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(
        len(difference), counts / counts.sum(), size=resamples
    )
    means = draws @ values / len(difference)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(difference.mean()), float(low), float(high)
