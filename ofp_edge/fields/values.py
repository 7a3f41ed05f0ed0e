"""Convert blocks of foreign values to the form in our dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError


class NotFinite(DatasetError):
    """NaN or infinity where a number is expected."""


def is_depth(size: tuple[int, ...]) -> bool:
    """Say whether a frame is a depth image rather than a list of points: more than 6 columns."""
    return len(size) == 2 and size[1] > 6


def numbers(
    block: NDArray[Any], columns: tuple[int, int] | None, where: str, first: int
) -> NDArray[np.float32]:
    """Return (n, …, D) float32, `columns` of the last axis. Raises DatasetError at NaN or infinity.

    first: number of the block's first frame, for the message.
    """
    values = np.asarray(block, np.float32)
    if values.ndim == 1:
        values = values[:, None]
    if columns:
        values = values[..., columns[0] : columns[1]]
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if bad.size:
        raise NotFinite(
            f"{where}: NaN or infinity at its frame {first + int(bad[0])}. Leave the episode out "
            "(`episodes` in a mapping) or record it again."
        )
    return values


def cloud(
    points: NDArray[np.float32], low: tuple[float, ...], high: tuple[float, ...], count: int
) -> NDArray[np.float32]:
    """Map (n, M, 3 or more) to (n, count, 3) as PointCloud does: points inside the box, evenly
    picked by order, and repeated where they are fewer; the box's middle where there is none."""
    box_low, box_high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    out = np.empty((len(points), count, 3), np.float32)
    pick = np.arange(count)
    for frame, made in zip(points[..., :3], out, strict=True):
        inside = np.flatnonzero(((frame >= box_low) & (frame <= box_high)).all(axis=1))
        if inside.size:
            made[:] = frame[inside[pick * inside.size // count]]
        else:
            made[:] = (box_low + box_high) / 2
    return out
