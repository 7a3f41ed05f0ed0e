"""Open a Zarr store as data: check metadata before Zarr sees it, and chunks as they come.

Zarr looks a codec up by the name that a file states, and some of numcodecs' run what they unpack
(pickle). So every metadata file below the folder, formats 2 and 3, is read here first; what is not
on the lists of plain numbers and of codecs is refused, and Zarr is given these very bytes. Nothing
but plain files of the folder is opened, and a chunk that would unpack to another size than its
array's is refused packed. Consolidated metadata, a copy, is not read.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from ofp_edge.data.zarr_codecs import refusal
from ofp_edge.data.zarr_metadata import ArrayForm, array_form
from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.outside import MEBIBYTE, plain_tree, read_plain, said_by
from ofp_edge.strict import parse_json

_NAMES = (".zarray", ".zgroup", ".zattrs", "zarr.json")
_COPY = ".zmetadata"  # consolidated; format 3 has it inside zarr.json
_MOST_GAPS = 100_000
_SLACK = MEBIBYTE  # by which a packed chunk may be larger than its numbers


def open_zarr(path: Path, extra: str) -> Any:
    """Open the Zarr group at `path`, to read. DatasetError when anything below it is no plain data.

    extra: the one of ours that brings Zarr.
    """
    zarr = require("zarr", extra)
    metadata: dict[str, bytes] = {}
    forms: dict[str, ArrayForm] = {}
    present: dict[str, int] = {}
    root = str(path)
    for entry in plain_tree(path, DatasetError):
        folder, _, name = entry.path[len(root) + 1 :].rpartition("/")
        if name in _NAMES:
            key = f"{folder}/{name}".lstrip("/")
            metadata[key], form = _checked(Path(entry.path))
            if form is not None:
                forms[folder] = form
        elif name != _COPY:
            present[folder] = present.get(folder, 0) + 1
    _require_chunks(path, forms, present)
    with said_by(f"{path} is not a Zarr group", DatasetError):
        return zarr.open_group(_store(path, metadata, forms), mode="r", use_consolidated=False)


def _checked(path: Path) -> tuple[bytes, ArrayForm | None]:
    """A metadata file's bytes as Zarr is to see them, and the form of the array it describes."""
    data = read_plain(path, DatasetError, 64 * MEBIBYTE)
    value = parse_json(data, str(path), DatasetError)
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: expected an object.")
    if path.name == "zarr.json":
        value.pop("consolidated_metadata", None)
        data = json.dumps(value).encode()
    return data, array_form(value, path)


def _require_chunks(path: Path, forms: dict[str, ArrayForm], present: dict[str, int]) -> None:
    """Chunks that are not there are read as zeros; far more of them than files is no dataset."""
    have = dict.fromkeys(forms, 0)
    for folder, count in present.items():
        if (array := _array_of(folder, forms)) is not None:
            have[array] += count
    for array, form in forms.items():
        if form.chunks - have[array] > _MOST_GAPS:
            raise DatasetError(
                f"{path}: {array}: its metadata states {form.chunks} chunks, {have[array]} are "
                "there."
            )


def _array_of(folder: str, forms: dict[str, ArrayForm]) -> str | None:
    """The array that a file in `folder` belongs to."""
    while folder and folder not in forms:
        folder = folder.rpartition("/")[0]
    return folder if folder in forms else None


def _store(path: Path, metadata: dict[str, bytes], forms: dict[str, ArrayForm]) -> Any:
    """A store of Zarr's over the folder: its own class, for Zarr is imported late."""
    local: Any = require("zarr.storage", "data").LocalStore

    class CheckedStore(local):  # type: ignore[misc, unused-ignore]
        """Gives the metadata that was checked, and chunks that fit it."""

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            data = await asyncio.to_thread(_bytes_of, path, key, metadata, forms)
            return self._cut(data, prototype, byte_range)

        def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
            return self._cut(_bytes_of(path, key, metadata, forms), prototype, byte_range)

        async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
            return [await self.get(key, prototype, part) for key, part in key_ranges]

        def _cut(self, data: bytes | None, prototype: Any, byte_range: Any) -> Any:
            if byte_range is not None:
                raise DatasetError(f"{path}: parts of a chunk can't be read.")
            prototype = prototype or require("zarr.core.buffer", "data").default_buffer_prototype()
            return None if data is None else prototype.buffer.from_bytes(data)

    return CheckedStore(path, read_only=True)


def _bytes_of(
    path: Path, key: str, metadata: dict[str, bytes], forms: dict[str, ArrayForm]
) -> bytes | None:
    """A metadata file or a chunk; None where there is no such file."""
    name = key.rpartition("/")[2]
    if name in (*_NAMES, _COPY):
        return metadata.get(key)
    array = _array_of(key.rpartition("/")[0], forms)
    if array is None or not (path / key).exists():
        return None
    form = forms[array]
    data = read_plain(path / key, DatasetError, form.size + _SLACK, inside=path)
    packed = data[: -form.trailer] if form.trailer else data
    if (why := refusal(form.codec, packed, form.size)) is not None:
        raise ValueError(f"{key} is damaged: {why}")  # whoever reads knows the episode
    return data
