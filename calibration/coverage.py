"""Samples that cover what was seen: k-center, which goes to the farthest point again and again.

The method is Gonzalez, Theoretical Computer Science 1985: its largest distance from any candidate
to the nearest sample is at most twice the best possible. Distances are Euclidean between features,
each divided by its spread over the candidates, and are divided by the square root of the number of
features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RANDOM_DRAWS = 8


@dataclass(frozen=True)
class Coverage:
    """The distance from a candidate to its nearest sample, largest and mean over the candidates.

    `random_largest` and `random_mean` are those of as many samples drawn at random (mean of 8
    draws), on the same scale.
    """

    candidates: int
    samples: int
    largest: float
    mean: float
    random_largest: float
    random_mean: float


def farthest_points(features: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Choose at most `count` rows of (M, F), each the farthest from those before. Every prefix is
    itself such a choice. The choice ends early when nothing new is left."""
    points = standardised(features)
    middle = ((points - points.mean(0)) ** 2).sum(1)
    chosen = [int(middle.argmin())]
    nearest = _squares(points, points[chosen[0]])
    while len(chosen) < min(count, len(points)):
        farthest = int(nearest.argmax())
        if nearest[farthest] <= 0:
            break
        chosen.append(farthest)
        np.minimum(nearest, _squares(points, points[farthest]), out=nearest)
    return np.asarray(chosen, dtype=np.int64)


def coverage(
    features: NDArray[np.floating], chosen: NDArray[np.int64], seed: int
) -> Coverage:  # fmt: skip
    """Measure how well the chosen rows cover all of them, beside random choices of as many."""
    points = standardised(features)
    rng = np.random.default_rng(seed)
    draws = [
        _distances(points, rng.choice(len(points), len(chosen), replace=False))
        for _ in range(_RANDOM_DRAWS)
    ]
    ours = _distances(points, chosen)
    return Coverage(
        len(points),
        len(chosen),
        float(ours.max()),
        float(ours.mean()),
        float(np.mean([x.max() for x in draws])),
        float(np.mean([x.mean() for x in draws])),
    )


def standardised(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Divide each feature by its spread; a feature that never changes counts as 0."""
    values = np.asarray(features, dtype=np.float64)
    spread = values.std(0)
    moving = spread > 1e-9 * np.abs(values).max(initial=1.0)
    scaled: NDArray[np.float64] = values[:, moving] / spread[moving] / max(1, moving.sum()) ** 0.5
    return scaled if scaled.shape[1] else np.zeros((len(values), 1))


def _squares(points: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = ((points - one) ** 2).sum(1)
    return squares


def _distances(points: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    nearest = np.full(len(points), np.inf)
    for row in chosen:
        np.minimum(nearest, _squares(points, points[row]), out=nearest)
    distances: NDArray[np.float64] = np.sqrt(nearest)
    return distances
