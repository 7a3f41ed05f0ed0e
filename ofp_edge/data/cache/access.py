"""Access: whether what the network sees is held in memory, or mapped from the cache."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ofp_edge.cache_folder import cache_folder
from ofp_edge.data.cache.build import build
from ofp_edge.data.cache.entry import EMPTY, About, Entry, key_of
from ofp_edge.data.cache.room import make_room
from ofp_edge.data.frames import Frames
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.outside import memory_left, require_memory
from ofp_edge.progress import Progress, silent

_TRIES = 3  # another process may make room between the making and the mapping
_POLL_S = 0.2
_WAITS = "another process makes or clears it"
_LOCKLESS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_SHARE = 0.5
"""The share of the free memory that a dataset may take before it is mapped."""


@dataclass(frozen=True)
class Wanted:
    """Values of a dataset's fields: of `episodes` of its source, which end at the frames `ends`.
    name: the dataset's, for people. sha256: its hash; hashed: what it is now, asked for once
    something was made of it. source: what `Frames.open` would open, if it is open already."""

    name: str
    sha256: str
    hashed: Callable[[], str]
    episodes: Sequence[int]
    ends: Sequence[int]
    source: Source | None = None


@dataclass(frozen=True)
class Access:
    """folder: the cache's, by default the user's. when: whether to use it. limit_bytes: of all that
    is in it. workers: processes that make what is missing. sharers: processes on this computer that
    each open the dataset, and share its memory."""

    folder: Path | None = field(default_factory=cache_folder)
    when: Literal["large", "always", "never"] = "large"
    limit_bytes: int | None = None
    workers: int = max(1, os.cpu_count() or 1)
    sharers: int = 1
    progress: Progress = silent

    def maps(self, size: int) -> bool:
        """Say whether so many bytes are mapped, and not held."""
        left = memory_left()
        large = left is not None and size * self.sharers > _SHARE * left
        return self.when == "always" or (self.when == "large" and large and self.folder is not None)

    def hashed(self, sha256: Callable[[], str]) -> str:
        """Return a dataset's hash, by which it is known in what is mapped and trained."""
        return sha256()

    def values(self, wanted: Wanted, frames: Sequence[Frames]) -> dict[str, NDArray[Any]]:
        """Return each field's values (T, *shape) by its name. DatasetError."""
        size = int(wanted.ends[-1]) * sum(x.field.bytes for x in frames)
        mapped = self.maps(size)
        if not mapped:
            require_memory(size, wanted.name, DatasetError)
        made = self._mapped if mapped else self._held
        return {x.field.name: made(wanted, x) for x in frames}

    def _held(self, wanted: Wanted, frames: Frames) -> NDArray[Any]:
        ends, source = wanted.ends, wanted.source or frames.open()
        values = np.empty((int(ends[-1]), *frames.field.shape), frames.field.dtype)
        start, seen = 0, False
        for number, (episode, end) in enumerate(zip(wanted.episodes, ends, strict=True)):
            for made in frames.blocks(source, episode, end - start):
                values[start : start + len(made)] = made
                seen = seen or frames.shows(made)
                start += len(made)
            self.progress(number + 1, len(ends), frames.field.name)
        if not seen:
            raise nothing_seen(frames)
        return values

    def _mapped(self, wanted: Wanted, frames: Frames) -> NDArray[Any]:
        name, episodes, ends = wanted.name, wanted.episodes, wanted.ends
        if self.folder is None:
            raise DatasetError(f"{name}: no folder for a cache: this user has no home. Give one.")
        if _lies_in(self.folder, frames.source):
            raise DatasetError(
                f"{self.folder} lies in the dataset {frames.source}, which it would change. Give "
                "--cache a folder beside it."
            )
        field, camera = frames.field, frames.camera
        about = About(name, field.name, (int(ends[-1]), *field.shape), field.dtype)
        identity = {
            "dataset": wanted.sha256,
            "field": asdict(field),
            "camera": camera.to_json() if camera else None,
            "key": frames.entry.key,
            "columns": frames.entry.columns,
            "episodes": list(episodes),
            "ends": [int(x) for x in ends],
        }
        entry = Entry(self.folder, key_of(identity))
        try:
            tries = 0
            while (values := entry.mapped(about)) is None and tries < _TRIES:
                with entry.alone() as alone:
                    if alone:
                        tries += 1
                        make_room(self.folder, entry, about, self.limit_bytes)
                        if build(entry, about, frames, episodes, ends, self.workers, self.progress):
                            _require_unchanged(entry, frames.source, wanted)
                if not alone:
                    self.progress(0, len(ends), _WAITS)
                    time.sleep(_POLL_S)
        except OSError as cause:
            raise DatasetError(_unusable(self.folder, cause)) from None
        if values is None:
            raise DatasetError(f"{entry.path} was deleted while it was made. Try again.")
        if (entry.done() == EMPTY).all():
            raise nothing_seen(frames)
        return values


def _lies_in(folder: Path, source: Path) -> bool:
    root = Path(os.path.realpath(source))
    return root in (place := Path(os.path.realpath(folder))).parents or root == place


def _require_unchanged(entry: Entry, source: Path, wanted: Wanted) -> None:
    """What was made of other bytes than those that name it must not stay."""
    if wanted.hashed() != wanted.sha256:
        entry.delete()
        raise DatasetError(f"{source} changed while it was read. Try again once it is complete.")


def _unusable(folder: Path, cause: OSError) -> str:
    if cause.errno == errno.ENOMEM:
        todo = (
            "A limit on addresses (ulimit -v) counts what is mapped: limit the memory of a control "
            "group instead."
        )
    elif cause.errno in _LOCKLESS:
        todo = "Files can't be locked there: give --cache a folder on a disk of this computer."
    else:
        todo = "What was made stays; give --cache a folder on another disk."
    return f"{folder}: the cache can't be used: {cause.strerror}. {todo}"


def nothing_seen(frames: Frames) -> DatasetError:
    """Return the error about a cloud's box in which no frame has points."""
    field = frames.field
    return DatasetError(
        f"{frames.source}: field {field.name!r}: no frame of camera {field.camera!r} has points "
        f"inside its box {getattr(field, 'low', ())} to {getattr(field, 'high', ())} (m). Is the "
        "depth all 0, or the box or the camera's pose wrong?"
    )
