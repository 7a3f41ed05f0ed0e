"""Convert any layout to ours, read block by block and written chunk by chunk: memory stays flat."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.mapping import Entry
from ofp_edge.data.reading import Reading, open_reading
from ofp_edge.data.writer import MARKER, ReplayWriter
from ofp_edge.errors import OfpError
from ofp_edge.files import new_folder
from ofp_edge.progress import Progress, silent
from ofp_edge.spec import ActionField, ObservationField

Field = ObservationField | ActionField


@dataclass(frozen=True)
class Converted:
    """The dataset that was written. raw_bytes: of its arrays before compression."""

    reading: Reading
    raw_bytes: int

    @property
    def frames(self) -> int:
        """The number of frames that all episodes have."""
        return sum(self.reading.lengths)


def convert(source: Path, output: Path, *, force: bool, progress: Progress = silent) -> Converted:
    """Write `source` (or what a mapping file names) as an ofp-edge dataset.

    Images stay as large as they were recorded; opening the result gives the same fields, bit for
    bit, as opening the source. Raises DatasetError, OfpError.
    """
    reading = open_reading(source, progress)
    ends, frames = np.cumsum(reading.lengths).tolist(), sum(reading.lengths)
    arrays = _arrays(reading)
    size = sum(
        frames * int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind, _ in arrays.values()
    )
    done, total = 0, frames * len(arrays)
    with new_folder(output, force=force, marker=MARKER) as folder:
        if size > 20 * shutil.disk_usage(folder).free:  # nothing compresses that well
            raise OfpError(
                f"{output}: {size / 1e6:,.1f} MB before compression: the disk is too full."
            )
        writer = ReplayWriter(folder, _attributes(reading), ends)
        for name, (shape, kind, entries) in arrays.items():

            def counted(
                name: str = name, entries: list[tuple[Entry, Field]] = entries
            ) -> Iterator[NDArray[Any]]:
                nonlocal done
                for block in _blocks(reading, entries):
                    done += len(block)
                    progress(done, total, name)
                    yield block

            writer.write(name, shape, kind, counted())
    return Converted(reading, size)


def _arrays(reading: Reading) -> dict[str, tuple[tuple[int, ...], str, list[tuple[Entry, Field]]]]:
    """Array -> its frame's shape, its type, and the fields laid end to end in it."""
    found: dict[str, tuple[tuple[int, ...], str, list[tuple[Entry, Field]]]] = {}
    for entry, field in reading.fields():
        array, shape, dtype, joined = "action", tuple(field.shape), "float32", True
        if isinstance(field, ObservationField):
            size, joined = reading.source.keys[entry.key].shape, field.joined
            array, shape, dtype = field.array((), size)
        beside = found[array][2] if joined and array in found else []
        width = sum(f.shape[0] for _, f in beside)
        found[array] = ((width + shape[0], *shape[1:]), dtype, [*beside, (entry, field)])
    return found


def _blocks(reading: Reading, entries: list[tuple[Entry, Field]]) -> Iterator[NDArray[Any]]:
    for episode in reading.episodes:
        if len(entries) == 1:
            yield from reading.blocks(*entries[0], episode)
        else:  # numbers: an episode of them is small
            parts = [np.concatenate(list(reading.blocks(e, f, episode))) for e, f in entries]
            yield np.concatenate(parts, axis=1)


def _attributes(reading: Reading) -> dict[str, Any]:
    plain, episodes = reading.interface.to_json(), reading.episodes
    return {
        "task": reading.mapping.task,
        "control_hz": reading.control_hz,
        **plain,
        "cameras": {name: camera.to_json() for name, camera in reading.cameras.items()},
        "seeds": list(episodes),
        "success": [success is True for success in reading.successes],
        "success_unknown": [i for i, x in enumerate(reading.successes) if x is None],
        **({"tasks": list(reading.tasks)} if reading.tasks else {}),
        "converted_from": {
            "name": reading.source.path.name,
            "layout": reading.source.layout,
            "sha256": reading.sha256(),
            **({"odd": list(reading.odd)} if reading.odd else {}),
        },
    }
