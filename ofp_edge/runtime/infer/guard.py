"""The guarded choice among several candidate chunks: one that others agree with.

A one-step chunk may land between two ways of doing a task, where no demonstration went. There it
has few neighbours. Taking the first candidate of the half that is least alone, and not the one
with the closest neighbours, nearly leaves the shares of the ways as the policy draws them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.start import without_effect

FEWEST, MOST = 3, 256  # the second-nearest other needs two others; each is held against each


def check_guard(guard: int, *, draws: bool = True) -> None:
    """Raise OfpError unless `guard` is 1 (off) or FEWEST..MOST. draws: whether there is noise to
    choose among."""
    if guard != 1 and not draws:
        raise OfpError(without_effect(f"--guard {guard}"))
    if guard != 1 and guard < FEWEST:
        raise OfpError(
            f"--guard {guard}: expected 1 (off) or {FEWEST} and more: a candidate is judged by its "
            "second-nearest other."
        )
    if guard > MOST:
        raise OfpError(f"--guard {guard}: expected {MOST} at most.")


def choose(candidates: NDArray[np.float32]) -> int:
    """Return the index of the chosen one of `candidates` (N, size), normalised chunks, N >= 3.

    S_i is the RMS distance of candidate i to its second-nearest other; the first with
    S_i <= median(S) is taken.
    """
    wide = candidates.astype(np.float64)
    distances = np.sqrt(((wide[:, None] - wide[None]) ** 2).mean(2))
    np.fill_diagonal(distances, np.inf)
    alone = np.partition(distances, 1, axis=1)[:, 1]
    return int(np.argmax(alone <= np.median(alone)))
