"""Open a Dataset from any layout: blocks are shrunk and cropped as they are read, the rest goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.cache.access import Access, Wanted
from ofp_edge.data.dataset import Dataset
from ofp_edge.data.frames import Frames
from ofp_edge.data.reading import Reading, open_reading
from ofp_edge.errors import DatasetError
from ofp_edge.outside import require_memory
from ofp_edge.spec import ActionField, ObservationField


def open_imported(path: Path, access: Access) -> Dataset:
    """Open a source, or a mapping file that names one. Raises DatasetError."""
    return dataset_of(path, open_reading(path), access)


def dataset_of(path: Path, reading: Reading, access: Access) -> Dataset:
    """Read every field in the form that the network takes; large ones as `access` says."""
    ends = np.cumsum(reading.lengths).astype(np.int64)
    frames, sha256 = int(ends[-1]), access.hashed(reading.sha256)
    seen = [(e, f) for e, f in reading.fields() if isinstance(f, ObservationField) and not f.joined]
    plain = [(e, f) for e, f in reading.fields() if isinstance(f, ActionField) or f.joined]
    need = 4 * frames * sum(f.shape[0] for _, f in plain)
    require_memory(need, str(path), DatasetError)
    fields: dict[str, NDArray[Any]] = {}
    for entry, field in plain:
        parts = [b for e in reading.episodes for b in reading.blocks(entry, field, e)]
        fields[field.name] = np.concatenate(parts).astype(np.float32, copy=False)
    mapping, cameras = reading.mapping, reading.cameras
    made = [
        Frames(
            mapping.source,
            mapping.filter_key,
            field,
            entry,
            cameras.get(field.camera or ""),
            drop_frames=mapping.drop_frames,
        )
        for entry, field in seen
    ]
    wanted = Wanted(
        path.name, sha256, reading.sha256, reading.episodes, ends.tolist(), reading.source
    )
    fields |= access.values(wanted, made)
    actions: Sequence[ActionField] = reading.interface.actions
    action = np.concatenate([fields.pop(f.name) for f in actions], axis=1)
    return Dataset(
        path,
        reading.mapping.task,
        reading.control_hz,
        reading.interface,
        reading.cameras,
        fields,
        action,
        ends,
        reading.episodes,
        reading.successes,
        sha256,
        reading.mapping.guessed,
        (*reading.odd, *reading.remarks),
        reading.several_tasks,
        _names(reading),
        reading.tasks,
    )


def _names(reading: Reading) -> dict[str, tuple[str, ...]]:
    """The names of each field's dimensions, where the files state one for every one."""
    found = {}
    for entry, field in reading.fields():
        first, end = entry.columns or (0, None)
        named = reading.source.names.get(entry.key, ())[first:end]
        if (len(named),) == field.shape:
            found[field.name] = named
    return found
