"""Single values far from all others, which would decide the range that all is normalised by.

The rule, for each dimension over all frames: at most 2 frames, or 1 in 1000 in at most a tenth of
the episodes, lie so far out that without them the range is less than a fifth of what it is with
them, and each run of them is entered or left by a jump of more than 5 times the largest other one.
A gripper that is rarely closed, a heavy tail that is reached gradually and a dimension that
otherwise rests at one value are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofp_edge.normalize import SMALLEST_SPAN

CLIP = "or write `clip = true` for this field there"
"""How each line that says a glitch ends."""
_FEWEST = 10  # frames; fewer have no range of their own
_FRAMES, _SHARE, _EPISODES = 2, 1000, 10
_SHRINKS, _JUMPS = 5.0, 5.0


@dataclass(frozen=True)
class Glitch:
    """What decides one dimension's range. rows: their numbers in all frames. jump: of the first.
    low, high: of all other rows. whole: the range with them."""

    dimension: int
    rows: tuple[int, ...]
    value: float
    jump: float
    low: float
    high: float
    whole: tuple[float, float]

    def said(self, name: str, lengths: Sequence[int], episodes: Sequence[int], first: int) -> str:
        """Say it in a line. lengths: frames of each of these episodes; first: number of the first
        frame of each."""
        ends = np.cumsum(lengths)
        place = int(np.searchsorted(ends, self.rows[0], side="right"))
        frame = self.rows[0] - int(ends[place]) + lengths[place] + first
        more = f" (and {len(self.rows) - 1} more frames)" if len(self.rows) > 1 else ""
        share = 100 * (self.high - self.low) / (self.whole[1] - self.whole[0])
        return (
            f"{name}[{self.dimension}]: jump of {self.jump:.4g} at episode {episodes[place]} frame "
            f"{frame}, to {self.value:.4g}{more}: it decides the range, of which the other values, "
            f"{self.low:.4g} to {self.high:.4g}, fill {share:.2g} %. Leave the episode out "
            f"(`episodes` in a mapping), {CLIP}"
        )


def glitches(
    low: NDArray[np.floating], high: NDArray[np.floating], lengths: Sequence[int]
) -> list[Glitch]:
    """Find them. low, high: (T, D), smallest and largest value of each frame, the same array where
    a frame has one value; lengths: frames of each episode, T in all."""
    if len(low) < _FEWEST:
        return []
    starts = np.zeros(len(low), bool)
    starts[np.cumsum([0, *lengths[:-1]])] = True
    episode = np.repeat(np.arange(len(lengths)), lengths)
    found = []
    for d in range(low.shape[1]):
        one, other = np.asarray(low[:, d], float), np.asarray(high[:, d], float)
        if (glitch := _judged(d, one, other, starts, episode)) is not None:
            found.append(glitch)
    return found


def _judged(
    dimension: int,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    starts: NDArray[np.bool_],
    episode: NDArray[np.int64],
) -> Glitch | None:
    count, whole = len(low), (float(low.min()), float(high.max()))
    most = max(_FRAMES, count // _SHARE)
    # The narrowest range that leaves out so many: some from below, the rest from above.
    bottom = np.sort(np.partition(low, most)[: most + 1])
    top = np.sort(np.partition(high, count - 1 - most)[count - 1 - most :])
    widths = top - bottom
    best = int(widths.argmin())
    inner, outer, width = float(bottom[best]), float(top[best]), float(widths[best])
    if width < 0 or _SHRINKS * width >= whole[1] - whole[0]:
        return None
    far = (low < inner - width) | (high > outer + width)
    steps = np.zeros(count)
    steps[1:] = np.maximum(np.abs(np.diff(low)), np.abs(np.diff(high)))
    steps[starts] = 0
    beside = far.copy()
    beside[1:] |= far[:-1]
    usual = float(steps[~beside].max(initial=0.0))
    rows, jumps = _runs(far, steps, starts, _JUMPS * usual)
    if not len(rows) or len(rows) > most:
        return None
    struck, episodes = len(np.unique(episode[rows])), int(episode[-1]) + 1
    if len(rows) > _FRAMES and struck > max(1, episodes // _EPISODES):
        return None
    rest = np.ones(count, bool)
    rest[rows] = False
    span = float(low[rest].min()), float(high[rest].max())
    if span[1] - span[0] < SMALLEST_SPAN or _SHRINKS * (span[1] - span[0]) >= whole[1] - whole[0]:
        return None
    first = int(rows[0])
    value = low[first] if span[0] - low[first] > high[first] - span[1] else high[first]
    return Glitch(dimension, tuple(rows.tolist()), float(value), jumps, *span, whole)


def _runs(
    far: NDArray[np.bool_], steps: NDArray[np.float64], starts: NDArray[np.bool_], least: float
) -> tuple[NDArray[np.int64], float]:
    """The rows of those runs of far ones that a jump of more than `least` enters or leaves, and the
    first run's jump."""
    places = np.flatnonzero(far)
    cut = np.flatnonzero((np.diff(places) > 1) | starts[places[1:]]) + 1
    kept, first = [], 0.0
    for run in np.split(places, cut):
        after = int(run[-1]) + 1
        into = float(steps[run[0]])
        out = float(steps[after]) if after < len(steps) and not starts[after] else 0.0
        if (jump := into or out) and max(into, out) > least:
            first = first or jump
            kept.append(run)
    return (np.concatenate(kept) if kept else np.empty(0, np.int64)), first
