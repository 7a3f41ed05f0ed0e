"""Frames makes one field's values, episode by episode, in the form that the network takes.

It is plain data, so that another process can be told to make some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.data.layouts import open_source
from ofp_edge.data.layouts.replay_buffer import open_replay
from ofp_edge.data.mapping import Entry, Mapping
from ofp_edge.data.pictures import turned
from ofp_edge.data.reading import Reading
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.fields import Points
from ofp_edge.spec import Interface, ObservationField


@dataclass(frozen=True)
class Frames:
    """Values of `field`, from `entry.key` of a source. camera: that it was seen by, if any.
    stored_as: the array of ours that the source has, where nothing needs to be converted;
    drop_frames: so many are left out at each episode's start and end."""

    source: Path
    filter_key: str | None
    field: ObservationField
    entry: Entry
    camera: CameraParameters | None
    stored_as: str | None = None
    drop_frames: tuple[int, int] = (0, 0)

    def open(self) -> Source:
        """Open the source. DatasetError."""
        if self.stored_as is not None:
            return open_replay(self.source, (self.stored_as,))
        source = open_source(self.source, self.filter_key)
        return turned(source, Mapping(self.source, (self.entry,), ()))

    def blocks(
        self, source: Source, episode: int, length: int, *, part: bool = False
    ) -> Iterator[NDArray[Any]]:
        """Yield an episode's `length` values in order, a few at a time: (n, *shape).

        source: what `open` returned. part: the episode may have more frames, which aren't read.
        DatasetError with episode, field and frame.
        """
        array = self.stored_as or self.field.array((), source.keys[self.entry.key].shape)[0]
        load, row = self.field.loading(array, self.camera), 0
        where = f"{self.source}: episode {episode}, field {self.field.name!r}"
        for block in self._recorded(source, episode):
            if part:
                block = block[: length - row]
            made = np.empty((len(block), *self.field.shape), self.field.dtype)
            load(block, made)
            if made.dtype.kind == "f" and not np.isfinite(made).all():
                bad = int(np.flatnonzero(~np.isfinite(made).reshape(len(made), -1).all(1))[0])
                raise DatasetError(
                    f"{where}: NaN or infinity at its frame {row + bad}. Leave the episode out or "
                    "record it again."
                )
            row += len(block)
            if row <= length:
                yield made
            if part and row == length:
                return
        if row != length:
            raise DatasetError(f"{where}: expected {length} frames, got {row}.")

    def shows(self, values: NDArray[Any]) -> bool:
        """Say whether there is anything to see in values (n, *shape)."""
        return not isinstance(self.field, Points) or bool(np.ptp(values, axis=2).any())

    def _recorded(self, source: Source, episode: int) -> Any:
        if self.stored_as is not None:
            return source.blocks(self.entry.key, episode)
        mapping = Mapping(self.source, (self.entry,), (), drop_frames=self.drop_frames)
        reading = Reading(source, mapping, 0.0, Interface((self.field,), ()), {}, (episode,))
        return reading.blocks(self.entry, self.field, episode)
