"""Successive halving: many settings on a few episodes, the better ones on more, the last on all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ofp_edge.evaluate.tuning import Measured, Setting

FINALISTS = 4
_KEPT = 3  # one in so many goes on
Measure = Callable[[Sequence[Setting], int], list[Measured]]
"""Measures settings on the first so many episodes, the same ones for all."""


def rungs(settings: int, episodes: int) -> list[tuple[int, int]]:
    """Return (settings, episodes) of each round: a third of the settings goes on, on twice as many
    episodes; the last round has them all."""
    counts = [settings]
    while counts[-1] > FINALISTS:
        counts.append(max(FINALISTS, math.ceil(counts[-1] / _KEPT)))
    last = len(counts) - 1
    return [(count, max(1, episodes >> (last - k))) for k, count in enumerate(counts)]


def halve(
    settings: Sequence[Setting], kept: Sequence[Setting], episodes: int, measure: Measure
) -> list[Measured]:
    """Return the finalists, and those of `kept`, which are measured to the end whatever their rank,
    on all episodes."""
    left = list(settings)
    found: list[Measured] = []
    for count, first in rungs(len(left), episodes):
        ranked = sorted(found, key=lambda x: x.rank, reverse=True)
        left = [x.setting for x in ranked if x.setting in left][:count] or left
        found = measure(list(dict.fromkeys((*left, *kept))), first)
    return found
