"""Where the numbers of each dimension lie: all of them, most of them, and those far from most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.glitches import Glitch

_OUTER = 1.0
"""Percent of the frames that the inner range leaves out at either end."""
_SHOWN = 8


@dataclass(frozen=True)
class Extent:
    """One dimension. low, high: of all frames. inner_low, inner_high: of 98 % of them, or with a
    glitch of all others. far: how many frames lie further from the inner range than it is wide.
    far_values: some of theirs. glitch: the line that says that single values decide the range."""

    low: float
    high: float
    inner_low: float
    inner_high: float
    far: int = 0
    far_values: tuple[float, ...] = ()
    glitch: str | None = None

    def struck(self, glitch: Glitch, line: str) -> Extent:
        """Return it with what decides its range, said by `line`, against all others."""
        few = len(glitch.rows), (glitch.value,)
        return Extent(self.low, self.high, glitch.low, glitch.high, *few, line)


def extents(low: NDArray[np.floating], high: NDArray[np.floating]) -> list[Extent | None]:
    """Return one for each dimension, None for those without a number. low, high: (T, D), smallest
    and largest value of each frame, NaN where a frame has none."""
    made: list[Extent | None] = []
    for d in range(low.shape[1]):
        below, above = (np.asarray(x[:, d], float) for x in (low, high))
        below, above = below[np.isfinite(below)], above[np.isfinite(above)]
        if not len(below) or not len(above):
            made.append(None)
            continue
        inner = float(np.percentile(below, _OUTER)), float(np.percentile(above, 100 - _OUTER))
        width = inner[1] - inner[0]
        far = np.concatenate([below[below < inner[0] - width], above[above > inner[1] + width]])
        far = far if width > 0 else far[:0]  # what rests and moves now and then has none
        shown = np.unique(far)
        if len(shown) > _SHOWN:
            shown = np.concatenate([shown[: _SHOWN // 2], shown[-_SHOWN // 2 :]])
        values = tuple(shown.tolist())
        made.append(Extent(float(below.min()), float(above.max()), *inner, len(far), values))
    return made
