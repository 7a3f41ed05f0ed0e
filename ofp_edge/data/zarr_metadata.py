"""Read a Zarr array's metadata, formats 2 and 3: plain numbers in codecs that are on our list."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofp_edge.data.zarr_codecs import CODECS
from ofp_edge.errors import DatasetError
from ofp_edge.strict import shown

_V2_TYPE = re.compile(r"(?:\|?[biu]1|\|?b1|[<>][iuf][248])")
_V3_TYPES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4,
    "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip
_V3_CODECS = ("blosc", "gzip", "zstd")
_LARGEST_CHUNK, _MOST_CHUNKS, _MOST_AXES = 1 << 31, 10**8, 8
_CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class ArrayForm:
    """Describes an array. size: of a chunk's numbers, bytes. codec: that packs them. trailer: bytes
    of a checksum that follows. chunks: how many."""

    size: int
    codec: str | None
    trailer: int
    chunks: int


def array_form(value: dict[str, Any], path: Path) -> ArrayForm | None:
    """Read an array's metadata file; None for any other. DatasetError for what is no plain data."""
    if path.name == ".zarray":
        return _format_2(value, path)
    if path.name == "zarr.json" and value.get("node_type") != "group":
        if value.get("node_type") != "array":
            raise _refused(path, "node", value.get("node_type"), "array or group")
        return _format_3(value, path)
    return None


def _format_2(value: dict[str, Any], path: Path) -> ArrayForm:
    kind = value.get("dtype")
    if not isinstance(kind, str) or not _V2_TYPE.fullmatch(kind):
        raise _refused(path, "type", kind, f"plain numbers. {_type_hint(kind, path)}")
    if value.get("filters"):
        raise _refused(path, "filters", value["filters"], "none")
    packer = value.get("compressor")
    codec = None
    if packer is not None:
        codec = packer.get("id") if isinstance(packer, dict) else None
        if not isinstance(codec, str) or codec not in CODECS:
            raise _refused(path, "codec", codec, f"one of {', '.join(CODECS)}")
    return _form(value.get("shape"), value.get("chunks"), int(kind[-1]), codec, 0, path)


def _format_3(value: dict[str, Any], path: Path) -> ArrayForm:
    kind = value.get("data_type")
    if not isinstance(kind, str) or kind not in _V3_TYPES:
        raise _refused(path, "type", kind, f"plain numbers. {_type_hint(kind, path)}")
    if value.get("storage_transformers"):
        raise _refused(path, "storage transformers", value["storage_transformers"], "none")
    grid = value.get("chunk_grid")
    if not isinstance(grid, dict) or grid.get("name") != "regular":
        raise _refused(path, "chunk grid", grid, "a regular one")
    codecs = value.get("codecs")
    if not isinstance(codecs, list):
        raise _refused(path, "codecs", codecs, "a list")
    names = [x.get("name") if isinstance(x, dict) else x for x in codecs]
    rest = [x for x in names if x not in ("transpose", "bytes")]
    trailer = _CHECKSUM_BYTES if rest[-1:] == ["crc32c"] else 0
    packers = rest[:-1] if trailer else rest
    if len(packers) > 1 or any(x not in _V3_CODECS for x in packers):
        raise _refused(path, "codec", rest, f"bytes, then one of {', '.join(_V3_CODECS)}")
    shape = (
        (grid.get("configuration") or {}).get("chunk_shape")
        if isinstance(grid.get("configuration"), dict)
        else None
    )
    codec = packers[0] if packers else None
    return _form(value.get("shape"), shape, _V3_TYPES[kind], codec, trailer, path)


def _form(
    shape: Any, chunks: Any, itemsize: int, codec: str | None, trailer: int, path: Path
) -> ArrayForm:
    for what, sizes, least in (("shape", shape, 0), ("chunks", chunks, 1)):
        plain = isinstance(sizes, list) and len(sizes) <= _MOST_AXES
        if not plain or not all(type(x) is int and least <= x < 1 << 62 for x in sizes):
            raise _refused(path, what, sizes, "whole numbers")
    if len(shape) != len(chunks):
        raise _refused(path, "chunks", chunks, f"{len(shape)} of them, as the shape has")
    size = itemsize * math.prod(chunks)
    count = math.prod(-(-whole // part) for whole, part in zip(shape, chunks, strict=True))
    if size > _LARGEST_CHUNK or count > _MOST_CHUNKS:
        raise DatasetError(
            f"{path}: {count} chunks of {size} bytes, expected at most {_MOST_CHUNKS} of "
            f"{_LARGEST_CHUNK}."
        )
    return ArrayForm(size, codec, trailer, count)


def _type_hint(kind: Any, path: Path) -> str:
    name = kind.get("name") if isinstance(kind, dict) else kind
    away = f"or move the array away if no policy needs it: mv {path.parent} ELSEWHERE"
    if isinstance(name, list) or name == "structured":
        return f"Store an array for each of its columns, {away}"
    if isinstance(name, str) and ("O" in name or "vlen" in name or "object" in name):
        return f"Objects are pickled, which is never read: store numbers, {away}"
    if isinstance(name, str) and re.match(r"[<>|]?[SU]|string|.*utf|.*bytes|null_term", name):
        return f"These are texts: store numbers, {away}"
    return f"Store it as float32 or as integers, {away}"


def _refused(path: Path, what: str, got: object, expected: str) -> DatasetError:
    return DatasetError(f"{path}: {what} {shown(got)} is not read: expected {expected}.")
