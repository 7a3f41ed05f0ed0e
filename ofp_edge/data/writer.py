"""Write a dataset: a Zarr replay buffer in the layout that Diffusion Policy's tools read.

    data/<array>        (T, ...)  all episodes, one after another
    meta/episode_ends   (E,) int64, exclusive
    .zattrs             {"ofp_edge": {...}}: task, rate, fields, cameras, seeds

Zarr format 2, Blosc (zstd, level 3), a hundred rows a chunk, fewer of large frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError
from ofp_edge.extras import require

DATA_SCHEMA_VERSION = 1
MARKER = ".zattrs"
"""The file that marks a dataset folder as ours: `files.new_folder(marker=...)`."""
ATTRIBUTES = "ofp_edge"
_ROWS, _CHUNK_BYTES = 100, 8_000_000


def write_replay(
    folder: Path, attrs: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]],
    episode_ends: Sequence[int],
) -> None:  # fmt: skip
    """Write a whole dataset into an empty folder (a `files.new_folder`, so that it appears whole).

    attrs: plain JSON, stored with the schema version under "ofp_edge". arrays: name below `data/`
    -> (T, ...). DatasetError when lengths and episode ends do not fit.
    """
    writer = ReplayWriter(folder, attrs, episode_ends)
    for name, array in arrays.items():
        writer.write(name, array.shape[1:], array.dtype, [array])


class ReplayWriter:
    """Writes the arrays of a dataset one after another, each from blocks of frames."""

    def __init__(self, folder: Path, attrs: Mapping[str, Any], episode_ends: Sequence[int]) -> None:
        """Take the same arguments as write_replay."""
        self._blosc = require("numcodecs", "sim").Blosc(cname="zstd", clevel=3)
        ends = np.asarray(episode_ends, dtype=np.int64)
        if not len(ends) or np.any(np.diff(ends, prepend=0) <= 0):
            raise DatasetError(
                f"episode_ends: expected rising positive numbers, got {ends.tolist()}."
            )
        self._frames = int(ends[-1])
        self._root = require("zarr", "sim").open_group(str(folder), mode="w", zarr_format=2)
        self._root.attrs[ATTRIBUTES] = {"schema_version": DATA_SCHEMA_VERSION, **attrs}
        self._create("meta/episode_ends", ends.shape, ends.dtype)[...] = ends

    def write(
        self, name: str, shape: Sequence[int], dtype: Any, blocks: Iterable[NDArray[Any]]
    ) -> None:
        """Write data/<name>, (T, *shape), from blocks (n, *shape) that follow each other.

        No more than a chunk is held in memory. DatasetError when the blocks are not T frames.
        """
        stored = self._create(f"data/{name}", (self._frames, *shape), dtype)
        rows = stored.chunks[0]
        waiting, start = [np.empty((0, *shape), dtype)], 0
        for block in blocks:
            waiting.append(block)
            have = sum(len(x) for x in waiting)
            if have >= rows:
                joined = np.concatenate(waiting)
                whole = have // rows * rows
                if start + whole <= self._frames:
                    stored[start : start + whole] = joined[:whole]
                waiting, start = [joined[whole:]], start + whole
        last = np.concatenate(waiting)
        if start + len(last) != self._frames:
            raise DatasetError(
                f"data/{name}: expected {self._frames} rows, got {start + len(last)}."
            )
        stored[start:] = last

    def _create(self, name: str, shape: Sequence[int], dtype: Any) -> Any:
        frame = int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize
        rows = min(_ROWS, max(1, _CHUNK_BYTES // max(1, frame)), max(1, shape[0]))
        return self._root.create_array(
            name,
            shape=tuple(shape),
            dtype=dtype,
            compressors=[self._blosc],
            chunks=(rows, *shape[1:]),
            config={"write_empty_chunks": True},  # a missing chunk is damage, not zeros
        )
