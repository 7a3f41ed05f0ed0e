"""Open a Dataset from any layout: blocks are shrunk and cropped as they are read, the rest goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.reading import Reading, open_reading
from ofp_edge.errors import DatasetError
from ofp_edge.fields.field import Write
from ofp_edge.outside import require_memory
from ofp_edge.spec import ActionField, ObservationField


def open_imported(path: Path) -> Dataset:
    """Open a source, or a mapping file that names one. Raises DatasetError."""
    return dataset_of(path, open_reading(path))


def dataset_of(path: Path, reading: Reading) -> Dataset:
    """Read every field into memory, in the form the network takes."""
    ends = np.cumsum(reading.lengths).astype(np.int64)
    frames, fields = int(ends[-1]), {}
    need = frames * (
        sum(f.bytes for f in reading.interface.observations) + 4 * reading.interface.action_dim
    )
    require_memory(need, str(path), DatasetError)
    for entry, field in reading.fields():
        write: Write = _copy
        dtype, row = "float32", 0
        if isinstance(field, ObservationField):
            array, _, dtype = field.array((), reading.source.keys[entry.key].shape)
            write = field.loading(array, reading.cameras.get(field.camera or ""))
            dtype = field.dtype
        values = np.empty((frames, *field.shape), dtype)
        for episode in reading.episodes:
            for block in reading.blocks(entry, field, episode):
                write(block, values[row : row + len(block)])
                row += len(block)
        fields[field.name] = values
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
        (True,) * len(ends),
        reading.sha256(),
        reading.mapping.guessed,
        reading.odd,
        _names(reading),
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


def _copy(block: NDArray[Any], out: NDArray[Any]) -> None:
    np.copyto(out, block)
