"""A Dataset from any layout: blocks are shrunk and cropped as they are read, the rest is let go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.mapping import Entry
from ofp_edge.data.reading import Reading, open_reading
from ofp_edge.data.values import is_depth
from ofp_edge.errors import DatasetError
from ofp_edge.image import ColorImage
from ofp_edge.outside import require_memory
from ofp_edge.preprocess import PointCloud
from ofp_edge.spec import ActionField, ObservationField


def open_imported(path: Path) -> Dataset:
    """Open a source, or a mapping file that names one. Raises DatasetError."""
    return dataset_of(path, open_reading(path))


def dataset_of(path: Path, reading: Reading) -> Dataset:
    """Read every field into memory, in the form the network takes."""
    ends = np.cumsum(reading.lengths).astype(np.int64)
    frames, fields = int(ends[-1]), {}
    every = [field for _, field in reading.fields()]
    require_memory(sum(frames * _bytes(x) for x in every), str(path), DatasetError)
    for entry, field in reading.fields():
        dtype = field.dtype if isinstance(field, ObservationField) else "float32"
        values = np.empty((frames, *field.shape), dtype)
        write, row = _writer(field, reading, entry), 0
        for episode in reading.episodes:
            for block in reading.blocks(entry, field, episode):
                write(block, values[row : row + len(block)])
                row += len(block)
        fields[field.name] = values
    actions: Sequence[ActionField] = reading.interface.actions
    action = np.concatenate([fields.pop(f.name) for f in actions], axis=1)
    return Dataset(
        path, reading.mapping.task, reading.control_hz, reading.interface, reading.cameras, fields,
        action, ends, reading.episodes, (True,) * len(ends), reading.sha256(),
        reading.mapping.guessed,
    )  # fmt: skip


def _bytes(field: ObservationField | ActionField) -> int:
    """Of one frame."""
    image = isinstance(field, ObservationField) and field.kind == "rgb"
    return math.prod(field.shape) * (1 if image else 4)


def _writer(
    field: ObservationField | ActionField, reading: Reading, entry: Entry
) -> Callable[[NDArray[Any], NDArray[Any]], None]:
    """Writes a block (n, ...) as recorded into (n, *field.shape): made once a field, for a
    camera's crop is worked out for every pixel."""
    key = reading.source.keys[entry.key]
    one: ColorImage | PointCloud
    if field.kind == "rgb":
        one = ColorImage(key.shape[1], key.shape[0], field.shape)
    elif field.kind == "points" and is_depth(key):
        camera = reading.cameras[str(entry.values["camera"])]
        one = PointCloud(camera, field.low, field.high, field.shape[1])
    elif field.kind == "points":
        return lambda block, out: np.copyto(out, block.transpose(0, 2, 1))
    else:
        return lambda block, out: np.copyto(out, block)

    def write(block: NDArray[Any], out: NDArray[Any]) -> None:
        for frame, made in zip(block, out, strict=True):
            one(frame, made)

    return write
