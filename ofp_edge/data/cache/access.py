"""Access: whether what the network sees is held in memory, or mapped from the cache."""

from __future__ import annotations

import os
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
from ofp_edge.errors import DatasetError
from ofp_edge.outside import memory_left, require_memory
from ofp_edge.progress import Progress, silent

_TRIES = 3  # another process may make room between the making and the mapping
_SHARE = 0.5
"""The share of the free memory that a dataset may take before it is mapped."""


@dataclass(frozen=True)
class Access:
    """folder: the cache's, by default the user's. when: whether to use it. limit_bytes: of all that
    is in it. workers: processes that make what is missing."""

    folder: Path | None = field(default_factory=cache_folder)
    when: Literal["large", "always", "never"] = "large"
    limit_bytes: int | None = None
    workers: int = max(1, os.cpu_count() or 1)
    progress: Progress = silent

    def maps(self, size: int) -> bool:
        """Say whether so many bytes are mapped, and not held."""
        left = memory_left()
        large = left is not None and size > _SHARE * left
        return self.when == "always" or (self.when == "large" and large and self.folder is not None)

    def hashed(self, sha256: Callable[[], str]) -> str:
        """Return a dataset's hash, by which it is known in what is mapped and trained."""
        return sha256()

    def values(
        self,
        name: str,
        dataset_sha256: str,
        frames: Sequence[Frames],
        episodes: Sequence[int],
        ends: Sequence[int],
    ) -> dict[str, NDArray[Any]]:
        """Return each field's values (T, *shape) by its name: of `episodes` of the source, which
        end at the frames `ends`. name: the dataset's, for people. DatasetError."""
        total = int(ends[-1])
        size = total * sum(x.field.bytes for x in frames)
        if not self.maps(size):
            require_memory(size, name, DatasetError)
            return {x.field.name: self._held(x, episodes, ends) for x in frames}
        return {x.field.name: self._mapped(name, dataset_sha256, x, episodes, ends) for x in frames}

    def _held(self, frames: Frames, episodes: Sequence[int], ends: Sequence[int]) -> NDArray[Any]:
        values = np.empty((int(ends[-1]), *frames.field.shape), frames.field.dtype)
        source, start, seen = frames.open(), 0, False
        for number, (episode, end) in enumerate(zip(episodes, ends, strict=True)):
            seen |= frames.write(source, episode, values[start:end])
            start = end
            self.progress(number + 1, len(ends), frames.field.name)
        if not seen:
            raise nothing_seen(frames)
        return values

    def _mapped(
        self,
        name: str,
        dataset_sha256: str,
        frames: Frames,
        episodes: Sequence[int],
        ends: Sequence[int],
    ) -> NDArray[Any]:
        if self.folder is None:
            raise DatasetError(f"{name}: no folder for a cache: this user has no home. Give one.")
        field, camera = frames.field, frames.camera
        about = About(name, field.name, (int(ends[-1]), *field.shape), field.dtype)
        identity = {
            "dataset": dataset_sha256,
            "field": asdict(field),
            "camera": camera.to_json() if camera else None,
            "key": frames.entry.key,
            "columns": frames.entry.columns,
            "episodes": list(episodes),
            "ends": [int(x) for x in ends],
        }
        entry = Entry(self.folder, key_of(identity))
        try:
            for _ in range(_TRIES):
                if (values := entry.mapped(about)) is not None:
                    break
                with entry.locked(lambda: self.progress(0, len(ends), "another process makes it")):
                    make_room(self.folder, entry, about, self.limit_bytes)
                    build(entry, about, frames, episodes, ends, self.workers, self.progress)
        except OSError as cause:
            raise DatasetError(
                f"{self.folder}: the cache can't be written: {cause.strerror}. What was made "
                "stays; give --cache a folder on another disk."
            ) from None
        if values is None:
            raise DatasetError(f"{entry.path} was deleted while it was made. Try again.")
        if (entry.done() == EMPTY).all():
            raise nothing_seen(frames)
        return values


def nothing_seen(frames: Frames) -> DatasetError:
    """Return the error about a cloud's box in which no frame has points."""
    field = frames.field
    return DatasetError(
        f"{frames.source}: field {field.name!r}: no frame of camera {field.camera!r} has points "
        f"inside its box {getattr(field, 'low', ())} to {getattr(field, 'high', ())} (m). Is the "
        "depth all 0, or the box or the camera's pose wrong?"
    )
