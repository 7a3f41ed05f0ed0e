"""What training checks of a dataset before its first step, without holding or hashing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.cache.access import Access, Wanted, nothing_seen
from ofp_edge.data.dataset import open_ours
from ofp_edge.data.frames import Frames
from ofp_edge.data.imported import dataset_of
from ofp_edge.data.looked_at import looked_at
from ofp_edge.data.mapping import Mapping
from ofp_edge.data.reading import read_by
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.fields import Points, Rgb
from ofp_edge.outside import require_closed
from ofp_edge.progress import Progress, silent

_FRAMES = 16
_PARTS = ("", Points.part, Rgb.part)  # what policy/encoder.py has an encoder for


@dataclass(frozen=True)
class Glance(Access):
    """Reads of what is large the first frames of a few episodes, or `every` frame, and keeps
    nothing."""

    every: bool = False

    def hashed(self, sha256: Callable[[], str]) -> str:
        """Hash nothing."""
        return ""

    def values(self, wanted: Wanted, frames: Sequence[Frames]) -> dict[str, NDArray[Any]]:
        """Return nothing. DatasetError as Access.values."""
        every = range(len(wanted.episodes))
        for item in frames:
            source = wanted.source or item.open()
            first = every if self.every else looked_at(len(every))
            seen = self._seen(item, source, wanted, first, whole=self.every)
            if not seen and not self.every:  # a cloud's box: somewhere there may be something
                seen = self._seen(item, source, wanted, every, whole=True)
            if not seen:
                raise nothing_seen(item)
        return {}

    def _seen(
        self, frames: Frames, source: Source, wanted: Wanted, places: Sequence[int], *, whole: bool
    ) -> bool:
        lengths, seen = np.diff(wanted.ends, prepend=0).tolist(), False
        for number, place in enumerate(places):
            self.progress(number, len(places), frames.field.name)
            rows = lengths[place] if whole else min(lengths[place], _FRAMES)
            part = rows < lengths[place]
            blocks = frames.blocks(source, wanted.episodes[place], rows, part=part)
            seen |= any([frames.shows(made) for made in blocks])  # every block is read
            if seen and whole and not self.every:
                break
        return seen


def tried(
    path: Path,
    source: Source,
    mapping: Mapping | None,
    *,
    every: bool = False,
    progress: Progress = silent,
) -> tuple[str, ...]:
    """Read a dataset as training does; return what is odd about that reading, a line each.

    path: as it is given to `train`. mapping: how its source is read, None for one of ours, which
    states it itself. every: also read every image, not the first ones of a few episodes. Raises
    what would end `train` before its first step.
    """
    odd: tuple[str, ...] = ()
    if mapping is None:
        dataset = open_ours(path, Glance(progress=progress, every=every))
    else:
        if source.path.is_dir():
            require_closed(source.path, DatasetError)
        reading = read_by(source, mapping, progress)
        glance = Glance(progress=progress, every=every)
        dataset, odd = dataset_of(path, reading, glance), reading.odd
    for field in dataset.interface.observations:
        if field.part not in _PARTS:
            raise DatasetError(
                f"{path}: observation {field.name!r} is of kind {field.kind}, which no network "
                "here takes. Leave the field out."
            )
    dataset.require_task()
    dataset.split()
    return odd
