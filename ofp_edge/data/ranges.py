"""The range of a mapped field's numbers, read through once, and what single values do to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.edges import offer
from ofp_edge.data.glitches import glitches
from ofp_edge.data.mapping import Entry, Mapping
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.fields import ObservationField, State
from ofp_edge.fields.values import NotFinite, numbers
from ofp_edge.spec import ActionField

_STILL = 0.5
"""Half the range given to a dimension that never changes."""

Range = tuple[tuple[float, ...], tuple[float, ...]]


def kept(source: Source, key: str, episode: int, drop: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """Yield the source's blocks without the frames that the mapping drops."""
    first, stop, done = drop[0], source.lengths[episode] - drop[1], 0
    for block in source.blocks(key, episode):
        rows = block[max(0, first - done) : max(0, stop - done)]
        done += len(block)
        if len(rows):
            yield rows


def offered(
    cause: NotFinite, source: Source, mapping: Mapping, entry: Entry, episodes: tuple[int, ...]
) -> DatasetError:
    """Return the error, or a better one where leaving an episode out is no help."""
    bad = []
    for episode in episodes:
        parts = []
        for block in kept(source, entry.key, episode, mapping.drop_frames):
            values = np.asarray(block, np.float32).reshape(len(block), -1)
            if entry.columns and block.ndim == 2:
                values = values[:, slice(*entry.columns)]
            parts.append(~np.isfinite(values).all(1))
        bad.append(np.concatenate(parts))
    line = offer(f"{source.path}: field {entry.name!r}", bad)
    return cause if line is None else DatasetError(f"{line}.")


def range_of(
    source: Source,
    mapping: Mapping,
    entry: Entry,
    kind: type[ObservationField],
    episodes: tuple[int, ...],
) -> tuple[Range, list[str]]:
    """Smallest and largest value of each dimension, of points of each axis, and a line for each
    dimension where single values decide them. An entry with `clip` has the others' range, and no
    lines."""
    if 0 in source.keys[entry.key].shape:
        raise DatasetError(f"{source.path}: field {entry.name!r}: {entry.key} holds no numbers.")
    lows, highs = [], []
    for episode in episodes:
        where = f"{source.path}: episode {episode}, field {entry.name!r}"
        done = mapping.drop_frames[0]
        for block in kept(source, entry.key, episode, mapping.drop_frames):
            try:
                values = numbers(block, entry.columns, where, done)
            except NotFinite as cause:
                raise offered(cause, source, mapping, entry, episodes) from None
            lows.append(values[..., :3].min(1) if kind.places else values)
            highs.append(values[..., :3].max(1) if kind.places else values)
            done += len(block)
    bottoms = np.concatenate(lows)
    tops = np.concatenate(highs) if kind.places else bottoms
    low, high = bottoms.min(0).astype(float), tops.max(0).astype(float)
    lengths = [source.lengths[episode] - sum(mapping.drop_frames) for episode in episodes]
    lines = []
    found = glitches(bottoms, tops, lengths) if bottoms.ndim == 2 else []
    for glitch in found:
        if entry.values.get("clip"):
            low[glitch.dimension], high[glitch.dimension] = glitch.low, glitch.high
        else:
            lines.append(glitch.said(entry.name, lengths, episodes, mapping.drop_frames[0]))
    still = low == high
    return (
        (tuple((low - _STILL * still).tolist()), tuple((high + _STILL * still).tolist())),
        lines,
    )


def clipped(values: NDArray[Any], field: ObservationField | ActionField) -> NDArray[Any]:
    """Move numbers (n, D) outside of the field's range to its ends. Points are cropped."""
    if not isinstance(field, (State, ActionField)):
        return values
    low, high = np.asarray(field.low, np.float32), np.asarray(field.high, np.float32)
    made: NDArray[Any] = np.clip(values, low, high)
    return made
