"""Read Zarr replay buffers: ours, Diffusion Policy's and DP3's.

    data/<key>          (T, ...)  all episodes, one after another
    meta/episode_ends   (E,) exclusive

Diffusion Policy's images may be JPEG 2000 or JPEG XL inside: imagecodecs brings its codecs.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.few_numbers import FewNumbers
from ofp_edge.data.source import Key, Source, rate_hz
from ofp_edge.data.store import check_attributes, labels_of, odd_of
from ofp_edge.data.success import success_of
from ofp_edge.data.zarr_gaps import missing_rows, told
from ofp_edge.data.zarr_store import open_zarr
from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.origin import install_line
from ofp_edge.outside import said_by
from ofp_edge.strict import shown

_MOST_EPISODES = 10**7


class ReplaySource(Source):
    """An open replay buffer."""

    def __init__(self, path: Path, root: Any, ends: NDArray[np.int64], arrays: dict[str, Any]):
        self.path, self._arrays = path, arrays
        self._few = FewNumbers()
        self.attributes = _attributes(path, root)
        foreign = "dp3" if "point_cloud" in arrays else "diffusion-policy"
        self.layout = "ofp-edge" if self.attributes else foreign
        self.keys = {name: Key(x.shape[1:], str(x.dtype)) for name, x in arrays.items()}
        self.lengths = tuple(np.diff(ends, prepend=0).tolist())
        self._starts = np.concatenate([[0], ends[:-1]])
        if rate := self.attributes.get("control_hz"):
            self.rates_hz = (rate_hz(rate, f"{path}: control_hz"),)
        self.task = self.attributes.get("task")
        self.notes = odd_of(path, self.attributes)
        if self.attributes and len(self.attributes["success"]) == len(self.lengths):
            self.tasks, self.successes = labels_of(path, self.attributes, len(self.lengths))
            if self.attributes.get("instructions"):  # a policy is told them: none has to be chosen
                self.tasks = ()
        elif not self.attributes:
            self.successes = self._successes()
        self.left = {x: "a group: of data/ only arrays are read" for x in _groups(path, arrays)}
        self._missing: dict[str, NDArray[np.bool_]] = {}

    def _successes(self) -> tuple[bool | None, ...]:
        """By a flag of each frame, where another project's set has one that can be read."""
        array = self._arrays.get("success")
        if array is None or math.prod(array.shape[1:]) != 1 or not array.nchunks_initialized:
            return ()
        try:
            return tuple(
                success_of(self.read("success", episode)) if length > 0 else None
                for episode, length in enumerate(self.lengths)
            )
        except DatasetError:  # said where a mapping takes it
            return ()

    def odd(self, key: str, episodes: Sequence[int]) -> tuple[str, ...]:
        """Chunks that are not there. Images that are black for a whole chunk, and chunks of ours,
        which are never left out, are damage: DatasetError."""
        array, name = self._arrays[key], f"data/{key}"
        if key not in self._missing:
            self._missing[key] = missing_rows(array, self.path / "data" / key)
        rows = [self._missing[key][self._rows(e)] for e in episodes]
        if (self.attributes or array.ndim == 4) and any(x.any() for x in rows):
            gap = array.nchunks - array.nchunks_initialized
            struck = next(e for e, x in zip(episodes, rows, strict=True) if x.any())
            raise DatasetError(
                f"{self.path}: episode {struck}, {name}: {gap} of its {array.nchunks} chunks are "
                "missing. Copy the dataset again, or leave the episode out (`episodes` in a "
                "mapping)."
            )
        line = told(name, episodes, rows, (self.blocks(key, e) for e in episodes))
        return () if line is None else (line,)

    def _rows(self, episode: int) -> slice:
        start = int(self._starts[episode])
        return slice(start, start + self.lengths[episode])

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        """Yield blocks that end where the array's chunks do, so that none is decoded twice."""
        yield from self._few.blocks(
            key, self.keys[key], episode, self.lengths[episode], lambda: self._read(key, episode)
        )

    def _read(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        array, start = self._arrays[key], int(self._starts[episode])
        stop, chunk = start + self.lengths[episode], int(array.chunks[0])
        rows = max(1, self.keys[key].block_rows // chunk) * chunk
        while start < stop:
            end = min(stop, (start // rows + 1) * rows)
            with said_by(
                f"{self.path}: episode {episode}, data/{key} cannot be read", DatasetError
            ):
                block = np.asarray(array[start:end])
            yield block
            start = end


def open_replay(path: Path, only: Collection[str] | None = None) -> ReplaySource:
    """Open a replay buffer, or `only` these of its arrays. DatasetError when it is none, or has a
    codec that is not read."""
    _register_codecs()
    root = open_zarr(path, "data")
    with said_by(f"{path} cannot be opened", DatasetError):
        if "data" not in root or "meta" not in root or "episode_ends" not in root["meta"]:
            raise DatasetError(f"{path}: a Zarr group without data and meta/episode_ends.")
        stored = root["meta/episode_ends"]
        kind, shape = stored.dtype, stored.shape
        if len(shape) != 1 or kind.kind not in "iu" or shape[0] > _MOST_EPISODES:
            raise DatasetError(
                f"{path}: meta/episode_ends: expected integers (E,), got {kind} {shape}."
            )
        if stored.nchunks != stored.nchunks_initialized:  # no episode ends at frame 0
            raise DatasetError(
                f"{path}: meta/episode_ends: a chunk of it is missing: nothing says where episodes "
                "end. Copy the dataset again."
            )
        ends = np.asarray(stored[:]).astype(np.int64)
    arrays = {}
    for name in _array_names(path) if only is None else only:
        with said_by(_codec_message(path, name), DatasetError):
            arrays[name] = root["data"][name]
            frames = arrays[name].shape[:1]
        if len(ends) and frames != (ends[-1],):
            raise DatasetError(
                f"{path}: data/{name}: expected {ends[-1]} frames (the last of meta/episode_ends), "
                f"got {frames[0] if frames else 'a single number'}."
            )
    return ReplaySource(path, root, ends, arrays)


def _attributes(path: Path, root: Any) -> dict[str, Any]:
    """Ours, {} in a foreign store."""
    with said_by(f"{path}: its attributes cannot be read", DatasetError):
        found = dict(root.attrs).get("ofp_edge") or {}
    if not isinstance(found, dict):
        raise DatasetError(f"{path}: attribute ofp_edge: expected an object, got {shown(found)}.")
    return check_attributes(path, found) if found else found


def _array_names(path: Path) -> list[str]:
    """By their files: zarr leaves out, without a word, an array whose codec it does not know."""
    markers = (".zarray", "zarr.json")
    folders = (path / "data").iterdir() if (path / "data").is_dir() else ()
    return sorted(x.name for x in folders if any((x / marker).exists() for marker in markers))


def _groups(path: Path, arrays: dict[str, Any]) -> list[str]:
    """What lies in data/ beside the arrays and is of Zarr too."""
    return sorted(
        x.name
        for x in (path / "data").iterdir()
        if x.name not in arrays and (x / ".zgroup").exists()
    )


def _register_codecs() -> None:
    if importlib.util.find_spec("imagecodecs"):
        require("imagecodecs.numcodecs", "data").register_codecs(verbose=False)


def _codec_message(path: Path, name: str) -> str:
    hint = ""
    if not importlib.util.find_spec("imagecodecs"):
        hint = f" (image codecs: {install_line('data')})"
    return f"{path}: data/{name}: metadata damaged, or codec not installed{hint}"
