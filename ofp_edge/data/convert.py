"""Any layout to ours: read block by block, written chunk by chunk, so memory stays flat."""

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
from ofp_edge.data.replay import MARKER, ReplayWriter
from ofp_edge.data.values import is_depth
from ofp_edge.errors import OfpError
from ofp_edge.files import new_folder
from ofp_edge.progress import Progress, silent
from ofp_edge.spec import ActionField, ObservationField

Field = ObservationField | ActionField


@dataclass(frozen=True)
class Converted:
    """What was written. raw_bytes: of its arrays before compression."""

    reading: Reading
    raw_bytes: int

    @property
    def frames(self) -> int:
        """Of all episodes."""
        return sum(self.reading.lengths)


def convert(source: Path, output: Path, *, force: bool, progress: Progress = silent) -> Converted:
    """Write `source` (or what a mapping file names) as an ofp-edge dataset.

    Images stay as large as they were recorded; opening the result gives the same fields, bit for
    bit, as opening the source. Raises DatasetError, OfpError.
    """
    reading = open_reading(source, progress)
    ends, frames = np.cumsum(reading.lengths).tolist(), sum(reading.lengths)
    arrays = _arrays(reading)
    size = sum(frames * int(np.prod(shape)) * np.dtype(kind).itemsize
               for shape, kind, _ in arrays.values())  # fmt: skip
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
    every = reading.fields()
    count = len(reading.interface.observations)
    states: list[tuple[Entry, Field]] = [(e, f) for e, f in every[:count] if f.kind == "state"]
    found: dict[str, tuple[tuple[int, ...], str, list[tuple[Entry, Field]]]] = {}
    for name, fields in (("state", states), ("action", every[count:])):
        if fields:
            found[name] = ((sum(f.shape[0] for _, f in fields),), "float32", fields)
    for entry, field in every[:count]:
        if not isinstance(field, ObservationField) or field.kind == "state":
            continue
        key = reading.source.keys[entry.key]
        if field.kind == "rgb":
            found[f"rgb_{field.camera}"] = (key.shape, "uint8", [(entry, field)])
        elif is_depth(key):
            found[f"depth_{field.camera}"] = (key.shape, "uint16", [(entry, field)])
        else:
            found[f"points_{field.camera}"] = ((field.shape[1], 3), "float32", [(entry, field)])
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
        "task": reading.mapping.task, "control_hz": reading.control_hz, **plain,
        "cameras": {name: camera.to_json() for name, camera in reading.cameras.items()},
        "seeds": list(episodes), "success": [True] * len(episodes),
        "converted_from": {"name": reading.source.path.name, "layout": reading.source.layout,
                           "sha256": reading.sha256()},
    }  # fmt: skip
