"""Zarr replay buffers: ours, Diffusion Policy's and DP3's.

    data/<key>          (T, ...)  all episodes, one after another
    meta/episode_ends   (E,) exclusive

Diffusion Policy's images may be JPEG 2000 or JPEG XL inside: imagecodecs brings its codecs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.source import Key, Source
from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.origin import install_line

DAMAGE = (OSError, ValueError, KeyError, RuntimeError, TypeError, IndexError)
"""What zarr and its codecs raise for a damaged array."""


class ReplaySource(Source):
    """An open replay buffer."""

    def __init__(self, path: Path, root: Any, ends: NDArray[np.int64], arrays: dict[str, Any]):
        self.path, self._arrays = path, arrays
        self.attributes: dict[str, Any] = dict(root.attrs).get("ofp_edge") or {}
        foreign = "dp3" if "point_cloud" in arrays else "diffusion-policy"
        self.layout = "ofp-edge" if self.attributes else foreign
        self.keys = {name: Key(x.shape[1:], str(x.dtype)) for name, x in arrays.items()}
        self.lengths = tuple(np.diff(ends, prepend=0).tolist())
        self._starts = np.concatenate([[0], ends[:-1]])
        if rate := self.attributes.get("control_hz"):
            self.rates_hz = (float(rate),)
        self.task = self.attributes.get("task")
        self.notes = self._gaps()

    def _gaps(self) -> tuple[str, ...]:
        """Zarr reads a chunk that is not there as zeros: zeros may have been left out, but images
        that are black for a whole chunk, and chunks of ours, are damage: DatasetError."""
        notes = []
        for name, array in self._arrays.items():
            if gap := array.nchunks - array.nchunks_initialized:
                line = f"data/{name}: {gap} of its {array.nchunks} chunks are missing"
                if self.attributes or array.ndim == 4:
                    raise DatasetError(f"{self.path}: {line}. Copy the dataset again.")
                notes.append(f"{line}, read as zeros")
        return tuple(notes)

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        """Blocks end where the array's chunks do, so that none is decoded twice."""
        array, start = self._arrays[key], int(self._starts[episode])
        stop, chunk = start + self.lengths[episode], int(array.chunks[0])
        rows = max(1, self.keys[key].block_rows // chunk) * chunk
        while start < stop:
            end = min(stop, (start // rows + 1) * rows)
            try:
                block = np.asarray(array[start:end])
            except DAMAGE as cause:
                raise DatasetError(
                    f"{self.path}: episode {episode}, data/{key} cannot be read: {cause}"
                ) from None
            yield block
            start = end


def open_replay(path: Path) -> ReplaySource:
    """Open a replay buffer. DatasetError when it is none, or has a codec that is not here."""
    zarr = require("zarr", "data")
    _register_codecs()
    try:
        root = zarr.open_group(str(path), mode="r")
        if "data" not in root or "meta" not in root or "episode_ends" not in root["meta"]:
            raise DatasetError(f"{path}: a Zarr group without data and meta/episode_ends.")
        ends = np.asarray(root["meta/episode_ends"][:])
    except DAMAGE as cause:
        raise DatasetError(f"{path} cannot be opened: {cause}") from None
    if ends.ndim != 1 or ends.dtype.kind not in "iu":
        raise DatasetError(f"{path}: meta/episode_ends: expected integers (E,), got {ends.dtype}.")
    arrays = {}
    for name in sorted(_array_names(path)):
        try:
            arrays[name] = root["data"][name]
        except DAMAGE as cause:
            raise DatasetError(_codec_message(path, name, cause)) from None
        if len(ends) and arrays[name].shape[0] != ends[-1]:
            raise DatasetError(
                f"{path}: data/{name}: expected {ends[-1]} frames (the last of meta/episode_ends), "
                f"got {arrays[name].shape[0]}."
            )
    return ReplaySource(path, root, ends.astype(np.int64), arrays)


def _array_names(path: Path) -> list[str]:
    """By their files: zarr leaves out, without a word, an array whose codec it does not know."""
    markers = (".zarray", "zarr.json")
    folders = (path / "data").iterdir() if (path / "data").is_dir() else ()
    return [x.name for x in folders if any((x / marker).exists() for marker in markers)]


def _register_codecs() -> None:
    if importlib.util.find_spec("imagecodecs"):
        require("imagecodecs.numcodecs", "data").register_codecs(verbose=False)


def _codec_message(path: Path, name: str, cause: Exception) -> str:
    hint = ""
    if not importlib.util.find_spec("imagecodecs"):
        hint = f" Image codecs: {install_line('data')}"
    return f"{path}: data/{name}: codec unknown or metadata damaged: {cause}.{hint}"
