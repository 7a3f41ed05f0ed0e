"""A plan that repeats itself: what a follower without noise does where the robot stands still.

With little noise a warm start is a function of the observation and of the last plan alone. Where
neither changes, the plan is the same again, and stays so: a fixed point, which no noise leaves.
On peg-insert-side, where most episodes end so, half of the plans differ by 0.0015 and less from the
one before (RMS, of the normalised range), on stick-push by 0.056 and more: docs/starts.md. In int8
half the plans of such a standstill differ by 0.03 from the one before, and none leads away: so
plans that stay near one of them repeat themselves, too. The chunk after a repeated plan is made
from noise alone, as much as training draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.chunk import Chunk, Repeated

REPEATED = 0.015
"""The RMS difference between two plans, normalised and not shifted, below which they are one."""
NEAR, STAYS = 0.06, 4
"""So many plans in a row, each within that RMS difference of the one before them, repeat it."""


class Repeats:
    """Compares plans (H, M), normalised float32, without allocating: the robot's part of each
    action, its first numbers. shape: (H, A) of that."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._difference = np.empty(shape, np.float32)

    def look(self, plan: NDArray[np.float32], previous: Chunk, *, afresh: bool) -> Repeated:
        """Return whether `plan`, which started from `previous`, repeats it, and what the next one
        is to be held against. afresh: it was made from noise, so nothing is held against it."""
        near, stayed = previous.repeated.near, previous.repeated.stayed + 1
        if near is None:
            near = previous.normalised
        if afresh or not self._within(NEAR, plan, near):
            near, stayed = plan, 0
        again = self._within(REPEATED, plan, previous.normalised) or stayed >= STAYS
        return Repeated(again, near, stayed)

    def _within(self, least: float, plan: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
        size = self._difference.shape[1]
        np.subtract(plan[:, :size], other[:, :size], out=self._difference)
        flat = self._difference.reshape(-1)
        return bool(np.dot(flat, flat) < least**2 * flat.size)
