"""Chunks of a Zarr array that have no file: Zarr reads them as the fill value, without a word.

A writer may leave a chunk out that is nothing but the fill value, so a lost one looks the same. It
is never hidden, and the rest of the array tells how likely it is: values that never come near the
fill value, or that leap to it and back faster than they move anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError
from ofp_edge.outside import said_by

_SHOWN = 4


def missing_rows(array: Any, folder: Path) -> NDArray[np.bool_]:
    """(T,): whether any part of a frame lies in a chunk that has no file. DatasetError."""
    rows = np.zeros(array.shape[0], bool)
    with said_by(f"{folder} cannot be read", DatasetError):
        if array.nchunks == array.nchunks_initialized:
            return rows
        grid = [range(-(-n // c)) for n, c in zip(array.shape, array.chunks, strict=True)]
        for place in product(*grid):
            if not (folder / array.metadata.encode_chunk_key(place)).is_file():
                rows[place[0] * array.chunks[0] : (place[0] + 1) * array.chunks[0]] = True
    return rows


def told(
    name: str,
    episodes: Sequence[int],
    missing: Sequence[NDArray[np.bool_]],
    values: Iterator[Iterator[NDArray[Any]]],
) -> str | None:
    """What there is to say of an array's missing frames; None when no episode has any.

    missing: (length,) of each of `episodes`. values: their blocks (n, ...), read with the fill
    value where a frame is missing.
    """
    struck = [e for e, rows in zip(episodes, missing, strict=True) if rows.any()]
    if not struck:
        return None
    frames = sum(int(rows.sum()) for rows in missing)
    which = ", ".join(str(x) for x in struck[:_SHOWN]) + (" …" if len(struck) > _SHOWN else "")
    several = "s" if len(struck) > 1 else ""
    where = (
        f"{name}: {frames} of {sum(map(len, missing))} frames have no chunk on the disk (episode"
        f"{several} {which})"
    )
    fill, why = _against(missing, values)
    if why is None:
        return (
            f"{where}: read as {fill:g}. Zarr leaves out chunks that are nothing else, but a lost "
            "one looks the same"
        )
    return (
        f"{where}: read as {fill:g}, but {why}: lost, it seems. Copy the dataset again, or leave "
        f"the episode{several} out (`episodes` in a mapping)"
    )


def _against(
    missing: Sequence[NDArray[np.bool_]], values: Iterator[Iterator[NDArray[Any]]]
) -> tuple[float, str | None]:
    """The fill value, and what speaks against a chunk that held nothing else."""
    seen = _Seen()
    for rows, blocks in zip(missing, values, strict=True):
        done = 0
        last: NDArray[Any] | None = None
        for block in blocks:
            flat = block.reshape(len(block), -1).astype(np.float64)
            absent = rows[done : done + len(flat)]
            if last is not None:
                flat = np.concatenate([last, flat])
                absent = rows[done - 1 : done - 1 + len(flat)]
            seen.add(flat, absent)
            last, done = flat[-1:], done + len(block)
    return seen.fill, seen.against()


class _Seen:
    """Per element of a frame: what the frames that are there hold, and how far they step."""

    fill = float("nan")

    def __init__(self) -> None:
        self._low: Any = np.inf
        self._high: Any = -np.inf
        self._step: Any = -np.inf  # of frames that are there, and between one and a missing one
        self._leap: Any = -np.inf

    def add(self, flat: NDArray[np.float64], absent: NDArray[np.bool_]) -> None:
        """flat: (n, elements), in order; the first may have been seen."""
        if absent.any():
            self.fill = float(flat[absent][0, 0])
        there = flat[~absent]
        if len(there):
            self._low = np.fmin(self._low, there.min(0))
            self._high = np.fmax(self._high, there.max(0))
        steps, pairs = np.abs(np.diff(flat, axis=0)), absent[1:].astype(int) + absent[:-1]
        if (pairs == 0).any():
            self._step = np.fmax(self._step, steps[pairs == 0].max(0))
        if (pairs == 1).any():
            self._leap = np.fmax(self._leap, steps[pairs == 1].max(0))

    def against(self) -> str | None:
        """The reason, if there is one."""
        low, high, step, leap = np.broadcast_arrays(
            *(np.atleast_1d(x) for x in (self._low, self._high, self._step, self._leap))
        )
        moves = step > 0  # what stands still elsewhere may be a switch, thrown once
        outside = np.flatnonzero(moves & (np.fmax(low - self.fill, self.fill - high) > step))
        if outside.size:
            at = int(outside[0])
            return f"column {at} lies between {low[at]:g} and {high[at]:g} everywhere else"
        far = np.flatnonzero(moves & (leap > step))
        if far.size:
            at = int(far[0])
            return f"column {at} leaps by {leap[at]:g} there and by {step[at]:g} at most elsewhere"
        return None
