"""A safetensors file that holds one tensor of two axes, read without the library: a robot need not
have it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import BundleError
from ofp_edge.strict import parse_json, shown

_LARGEST_HEADER = 1 << 16
_FLOAT32 = {"F32": np.dtype("<f4")}


def largest_file(count: int, size: int) -> int:
    """Return the bytes that no file of `count` rows of `size` float32 exceeds."""
    return 4 * count * size + _LARGEST_HEADER


def read_rows(data: bytes, name: str, count: int, size: int, what: str) -> NDArray[np.float32]:
    """Return the finite float32 rows (count, size) of a file. Raises BundleError, one line that
    begins with `what`."""
    _, shape, start = find_tensor(data, name, _FLOAT32, what)
    if shape != (count, size):
        raise BundleError(f"{what}: expected {count} rows of {size} numbers, got {shape}.")
    values: NDArray[np.float32] = np.frombuffer(data, "<f4", offset=start).reshape(shape)
    if not np.isfinite(values).all():
        raise BundleError(f"{what}: it holds NaN or infinity.")
    return values


def find_tensor(
    data: Any, name: str, dtypes: Mapping[str, np.dtype[Any]], what: str
) -> tuple[str, tuple[int, int], int]:
    """Return the tensor's type, of `dtypes`, its shape, and where it begins in `data`, bytes of the
    whole file. Raises BundleError, one line that begins with `what`, for another kind of file."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(_LARGEST_HEADER, len(data) - 8):
        raise BundleError(f"{what} is no safetensors file with a table {name!r}.")
    header = parse_json(data[8 : 8 + length], what, BundleError)
    entry = _entry(header, name, dtypes, what)
    count, width = entry["shape"]
    size = count * width * dtypes[entry["dtype"]].itemsize
    if entry["data_offsets"] != [0, size] or len(data) != 8 + length + size:
        raise BundleError(f"{what}: expected {size} bytes of {name} behind its header.")
    return entry["dtype"], (count, width), 8 + length


def _entry(
    header: Any, name: str, dtypes: Mapping[str, np.dtype[Any]], what: str
) -> dict[str, Any]:
    names = sorted(set(header) - {"__metadata__"}) if isinstance(header, dict) else []
    entry = header[name] if names == [name] else None
    form = {"dtype": str, "shape": list, "data_offsets": list}
    if (
        not isinstance(entry, dict)
        or {key: type(x) for key, x in entry.items()} != form
        or entry["dtype"] not in dtypes
        or len(entry["shape"]) != 2
        or not all(type(x) is int and x > 0 for x in entry["shape"])
    ):
        got = shown(json.dumps(header)[:200])
        raise BundleError(
            f"{what}: expected one tensor {name!r} of two axes, {', '.join(dtypes)}, got {got}."
        )
    return entry
