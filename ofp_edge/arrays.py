"""Read arrays from outside: npy, npz, and bytes of a stated type and shape. Sizes are checked
before anything is allocated; only plain numbers are read, never objects.

numpy's own reader evaluates a header as Python and takes the memory that it states; this one reads
the one form that numpy writes, and a shape that does not fit its bytes is refused.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.outside import require_memory
from ofp_edge.strict import shown

DTYPES = frozenset(
    {"|b1", "|u1", "|i1"} | {f"<{kind}{size}" for kind, sizes in
                             {"u": (2, 4, 8), "i": (2, 4, 8), "f": (2, 4, 8)}.items()
                             for size in sizes}
)  # fmt: skip
"""The types that are read, by the names numpy writes."""
_MOST_AXES, _LONGEST_AXIS, _LONGEST_HEADER = 8, 1 << 48, 1 << 12
_HEADER = re.compile(
    rb"\{'descr': '([<|=]?[a-z][0-9]+)', 'fortran_order': (True|False), "
    rb"'shape': \((|[0-9]{1,19}(?:, [0-9]{1,19})*),?\), \} *\n"
)
_MAGIC = b"\x93NUMPY"


def array_of(
    data: bytes | memoryview, dtype: Any, shape: Any, what: str, error: type[OfpError]
) -> NDArray[Any]:
    """Return a new array of `data`; raise `error` unless dtype is in DTYPES and the shape fits."""
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise error(f"{what}: expected plain little-endian numbers, got type {shown(dtype)}.")
    kind = np.dtype(dtype)
    plain = isinstance(shape, (list, tuple)) and len(shape) <= _MOST_AXES
    if not plain or not all(type(x) is int and 0 <= x <= _LONGEST_AXIS for x in shape):
        raise error(f"{what}: expected a shape of whole numbers, got {shown(shape)}.")
    if math.prod(shape) * kind.itemsize != len(data):
        raise error(f"{what}: {len(data)} bytes, which are not {tuple(shape)} of {dtype}.")
    if math.prod(x or 1 for x in shape) > _LONGEST_AXIS:  # of no values, and no array of numpy's
        raise error(f"{what}: {tuple(shape)} is no shape that an array can have.")
    return np.frombuffer(data, kind).reshape(shape).copy()


def read_npy(data: bytes, what: str, error: type[OfpError]) -> NDArray[Any]:
    """Read an array in numpy's npy format."""
    version = data[6:8]
    size = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}.get(version)
    if data[:6] != _MAGIC or size is None:
        raise error(f"{what} is no npy array.")
    start = 8 + size
    end = start + int.from_bytes(data[8:start], "little")
    found = _HEADER.fullmatch(data[start:end]) if end - start <= _LONGEST_HEADER else None
    if found is None or end > len(data):
        raise error(f"{what}: expected an npy array of plain numbers, got another header.")
    shape = tuple(int(x) for x in found[3].split(b",") if x.strip())
    if found[2] == b"True":
        turned = array_of(data[end:], found[1].decode(), shape[::-1], what, error)
        return np.ascontiguousarray(turned.T)
    return array_of(data[end:], found[1].decode(), shape, what, error)


def read_npz(
    data: bytes, what: str, error: type[OfpError], largest: int
) -> dict[str, NDArray[Any]]:
    """Read the arrays of an npz file, by name; together at most `largest` bytes, unpacked."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            items: Sequence[zipfile.ZipInfo] = archive.infolist()
            if (size := sum(x.file_size for x in items)) > largest:
                raise error(f"{what}: {size} bytes unpacked, expected at most {largest}.")
            require_memory(2 * size, what, error)
            for item in items:
                if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise error(f"{what}: {item.filename!r} is packed in another way than numpy's.")
                name = item.filename.removesuffix(".npy")
                arrays[name] = read_npy(archive.read(item), f"{what}, {name!r}", error)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        MemoryError,
    ) as cause:
        raise error(f"{what} cannot be read: {cause}") from None
    return arrays
