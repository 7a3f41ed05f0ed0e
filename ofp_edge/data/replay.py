"""Writing a dataset: a Zarr replay buffer in the layout that Diffusion Policy's tools read.

    data/<array>        (T, ...)  all episodes, one after another
    meta/episode_ends   (E,) int64, exclusive
    .zattrs             {"ofp_edge": {...}}: task, rate, fields, cameras, seeds

Zarr format 2, Blosc (zstd, level 3), a hundred rows a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError
from ofp_edge.extras import require

DATA_SCHEMA_VERSION = 1
MARKER = ".zgroup"
"""The file that every dataset folder has: `files.new_folder(marker=...)`."""
ATTRIBUTES = "ofp_edge"
_ROWS = 100


def write_replay(
    folder: Path, attrs: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]],
    episode_ends: Sequence[int],
) -> None:  # fmt: skip
    """Write a whole dataset into an empty folder (a `files.new_folder`, so that it appears whole).

    attrs: plain JSON, stored with the schema version under "ofp_edge". arrays: name below `data/`
    -> (T, ...). DatasetError when lengths and episode ends do not fit.
    """
    zarr = require("zarr", "sim")
    blosc = require("numcodecs", "sim").Blosc(cname="zstd", clevel=3)
    ends = np.asarray(episode_ends, dtype=np.int64)
    if not len(ends) or np.any(np.diff(ends, prepend=0) <= 0):
        raise DatasetError(f"episode_ends: expected rising positive numbers, got {ends.tolist()}.")
    for name, array in arrays.items():
        if len(array) != ends[-1]:
            raise DatasetError(f"data/{name}: expected {ends[-1]} rows, got {len(array)}.")
    root = zarr.open_group(str(folder), mode="w", zarr_format=2)
    root.attrs[ATTRIBUTES] = {"schema_version": DATA_SCHEMA_VERSION, **attrs}
    everything = {f"data/{name}": array for name, array in arrays.items()}
    everything["meta/episode_ends"] = ends
    for name, array in everything.items():
        stored = root.create_array(
            name, shape=array.shape, dtype=array.dtype, compressors=[blosc],
            chunks=(min(_ROWS, len(array)), *array.shape[1:]),
            config={"write_empty_chunks": True},  # a missing chunk is damage, not zeros
        )  # fmt: skip
        stored[...] = array
