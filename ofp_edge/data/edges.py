"""Frames at an episode's ends that hold no numbers: many recorders have no action for the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MOST = 3  # at an end; more is no habit of a recorder


def edge_frames(bad: Sequence[NDArray[np.bool_]]) -> tuple[int, int] | None:
    """How many frames to drop at each episode's start and end so that no bad one is left, None
    where that is no help. bad: (length,) of each episode."""
    first = last = 0
    for rows in bad:
        good = np.flatnonzero(~rows)
        if not good.size or rows[good[0] : good[-1]].any():
            return None
        first, last = max(first, int(good[0])), max(last, len(rows) - 1 - int(good[-1]))
    short = min(map(len, bad), default=0) <= first + last
    return None if short or max(first, last) > _MOST or first + last == 0 else (first, last)


def offer(name: str, bad: Sequence[NDArray[np.bool_]]) -> str | None:
    """What to do about NaN in all that is read of a key: None where leaving episodes out does it.

    name: of the field or key. bad: as for `edge_frames`, at least one frame of them.
    """
    struck, all_of = sum(bool(rows.any()) for rows in bad), len(bad)
    count = f"all {all_of}" if struck == all_of else f"{struck} of {all_of}"
    if (drop := edge_frames(bad)) is not None:
        ends = [f"{_frames('first', drop[0])}"] * bool(drop[0])
        ends += [f"{_frames('last', drop[1])}"] * bool(drop[1])
        return (
            f"{name}: NaN or infinity in the {' and '.join(ends)} of {count} episodes, and nowhere "
            f"else. Drop {'that frame' if sum(drop) == 1 else 'those frames'}: `drop_frames = "
            f"{list(drop)}` in a mapping"
        )
    if struck == all_of and all_of > 1:
        return (
            f"{name}: NaN or infinity in {count} episodes, not only at their ends: leaving "
            "episodes out would leave none. Leave the key out of the mapping, or record it again"
        )
    return None


def _frames(which: str, count: int) -> str:
    return f"{which} frame" if count == 1 else f"{which} {count} frames"
