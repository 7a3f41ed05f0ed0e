"""Read HDF5 files, for the two layouts in HDF5: only plain arrays of the file itself.

HDF5 follows links into other files, keeps an array's bytes in files of any name, and unpacks a
chunk to whatever it holds. So an object is reached by hard links alone, an array whose bytes lie
elsewhere is refused, and packed chunks are unpacked here, no further than their size.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.source import Key, spans
from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.outside import require_plain, said_by
from ofp_edge.strict import shown

_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3  # HDF5's numbers of its filters
_LARGEST_CHUNK, _LARGEST_ITEM = 1 << 28, 1 << 24
_LONGEST_TEXT, _MOST_ROWS, _MOST_OBJECTS = 1 << 20, 10**8, 100_000


class Hdf5:
    """An open file; names are paths from its root. DatasetError for whatever is wrong with it."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self._file, self._h5py = path, file, require("h5py", "data")

    def names(self, group: str) -> list[str]:
        """Return the names in a group."""
        with said_by(f"{self.path} cannot be read", DatasetError):
            found = self._reach(group)
            if found is not None and not isinstance(found, self._h5py.Group):
                raise DatasetError(f"{self.path}: {group}: expected a group, got an array.")
            return [] if found is None else [str(x) for x in found]

    def __contains__(self, name: str) -> bool:
        """Say whether it is there, and no link."""
        with said_by(f"{self.path} cannot be read", DatasetError):
            return self._reach(name) is not None

    def arrays(self, group: str = "/") -> list[str]:
        """Return the paths, from a group, of the arrays of numbers and of fixed texts below it."""
        found: list[str] = []
        with said_by(f"{self.path} cannot be read", DatasetError):
            start = self._reach(group)
            waiting = [] if start is None else [("", start)]
            for looked_at in range(_MOST_OBJECTS):
                if not waiting:
                    return sorted(found)
                prefix, item = waiting.pop()
                for name in item:
                    inner = self._member(item, str(name))
                    if isinstance(inner, self._h5py.Group):
                        waiting.append((f"{prefix}{name}/", inner))
                    elif isinstance(inner, self._h5py.Dataset) and self._is_read(inner):
                        found.append(f"{prefix}{name}")
                if len(found) + len(waiting) + looked_at > _MOST_OBJECTS:
                    break
        raise DatasetError(f"{self.path}: more than {_MOST_OBJECTS} objects in {group}.")

    def array(self, name: str) -> Hdf5Array:
        """Return an array of numbers or of fixed texts, with an axis of rows."""
        with said_by(f"{self.path}: {name} cannot be read", DatasetError):
            found = self._reach(name)
            if not isinstance(found, self._h5py.Dataset) or not self._is_read(found):
                got = self._described(found)
                raise DatasetError(f"{self.path}: {name}: expected rows of numbers, got {got}.")
            return Hdf5Array(self.path, name, found)

    def scalar(self, name: str) -> Any:
        """Return one number or text."""
        with said_by(f"{self.path}: {name} cannot be read", DatasetError):
            found = self._reach(name)
            small = isinstance(found, self._h5py.Dataset) and found.size == 1
            if not small or found.dtype.itemsize > _LONGEST_TEXT:
                raise DatasetError(f"{self.path}: {name}: expected one value.")
            _require_inside(self.path, name, found)
            value = found[()]
            value = value.item() if hasattr(value, "item") else value
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def attribute(self, group: str, name: str, default: str) -> str:
        """Return a text attribute of a group."""
        with said_by(f"{self.path}: attribute {name} of {group} cannot be read", DatasetError):
            found = self._reach(group)
            value = default if found is None else found.attrs.get(name, default)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            raise DatasetError(f"{self.path}: attribute {name} of {group}: expected a text.")
        return value

    def flag(self, group: str, name: str) -> bool | None:
        """Return an attribute of a group that says yes or no, None where there is none."""
        with said_by(f"{self.path}: attribute {name} of {group} cannot be read", DatasetError):
            found = self._reach(group)
            value = np.asarray(None if found is None else found.attrs.get(name))
        return bool(value) if value.ndim == 0 and value.dtype.kind in "biu" else None

    def _reach(self, name: str) -> Any:
        """An object, None where there is none; DatasetError at a link on the way."""
        item: Any = self._file
        for part in name.strip("/").split("/"):
            if part and item is not None:
                item = self._member(item, part) if isinstance(item, self._h5py.Group) else None
        return item

    def _member(self, group: Any, name: str) -> Any:
        key = name.encode()
        if not group.id.links.exists(key):
            return None
        if group.id.links.get_info(key).type != self._h5py.h5l.TYPE_HARD:
            raise DatasetError(
                f"{self.path}: {group.name.rstrip('/')}/{name} is a link, which is not followed. "
                "If it is yours, copy what it leads to: h5copy, or h5repack."
            )
        return group[name]

    def _described(self, found: Any) -> str:
        """What stands where rows of numbers are expected."""
        if found is None:
            return "nothing: it is missing"
        if not isinstance(found, self._h5py.Dataset):
            return "a group"
        if found.shape is None:
            return "an array without values (h5py.Empty)"
        if not found.ndim:
            return f"a single value ({found.dtype}): give it a row a frame"
        if found.dtype.names is not None:
            columns = shown(list(found.dtype.names))
            return f"a table of columns {columns}: store an array for each"
        return "texts, or lists of a length of their own: store float32 or integers"

    def _is_read(self, found: Any) -> bool:
        return (
            found.shape is not None
            and bool(found.ndim)
            and found.dtype.kind in "biufS"
            and found.dtype.names is None
        )


class Hdf5Array:
    """An array, checked: its bytes lie in the file and its chunks have a possible size."""

    def __init__(self, path: Path, name: str, found: Any) -> None:
        self._where, self._found = f"{path}: {name}", found
        _require_inside(path, name, found)
        self.shape, self.dtype = tuple(int(x) for x in found.shape), found.dtype
        frame = math.prod(self.shape[1:]) * self.dtype.itemsize
        if self.shape[0] > _MOST_ROWS or frame > _LARGEST_CHUNK:
            raise DatasetError(f"{self._where}: {self.shape} of {self.dtype}: expected less.")
        if self.dtype.itemsize > _LARGEST_ITEM:
            raise DatasetError(f"{self._where}: texts of {self.dtype.itemsize} bytes.")
        self._filters = self._checked_filters()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def key(self) -> Key:
        """The key, where the array's first axis is time."""
        return Key(self.shape[1:], str(self.dtype))

    def rows(self, first: int, last: int) -> NDArray[Any]:
        """Return rows [first, last), never more than there are."""
        with said_by(f"{self._where} cannot be read", DatasetError):
            if not self._filters:
                return np.asarray(self._found[first:last])
            return self._unpacked(first, min(last, len(self)))

    def blocks(self, start: int, length: int) -> Iterator[NDArray[Any]]:
        """Yield rows [start, start + length) in blocks."""
        for first, last in spans(length, self.key.block_rows, start):
            yield self.rows(first, last)

    def _checked_filters(self) -> list[int]:
        if self._found.chunks is None:
            return []
        size = math.prod(self._found.chunks) * self.dtype.itemsize
        if size > _LARGEST_CHUNK:
            raise DatasetError(f"{self._where}: chunks of {size} bytes, expected less.")
        properties = self._found.id.get_create_plist()
        filters = [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]
        if unknown := [x for x in filters if x not in (_DEFLATE, _SHUFFLE, _CHECKSUM)]:
            raise DatasetError(
                f"{self._where}: packed by filter {unknown[0]}, which is not read: expected gzip "
                "and shuffle. Pack it anew: h5repack -f GZIP=4."
            )
        if filters.count(_DEFLATE) > 1:
            raise DatasetError(f"{self._where}: packed twice.")
        return filters

    def _unpacked(self, first: int, last: int) -> NDArray[Any]:
        """What HDF5's own filters would give, chunk by chunk."""
        chunk = self._found.chunks
        made = np.full((last - first, *self.shape[1:]), self._found.fillvalue, self.dtype)
        counts = [range(first // chunk[0], -(-last // chunk[0]))]
        counts += [range(-(-n // c)) for n, c in zip(self.shape[1:], chunk[1:], strict=True)]
        for place in np.ndindex(*(len(x) for x in counts)):
            start = [(x[i]) * c for x, i, c in zip(counts, place, chunk, strict=True)]
            values = self._chunk(tuple(start))
            if values is None:
                continue  # never written: the fill value
            into, source = [], []
            for axis, (begin, size) in enumerate(zip(start, chunk, strict=True)):
                low, high = (first, last) if axis == 0 else (0, self.shape[axis])
                a, b = max(begin, low), min(begin + size, high)
                into.append(slice(a - low, b - low))
                source.append(slice(a - begin, b - begin))
            made[tuple(into)] = values[tuple(source)]
        return made

    def _chunk(self, start: tuple[int, ...]) -> NDArray[Any] | None:
        stored = self._found.id
        shape = self._found.chunks
        size = math.prod(shape) * self.dtype.itemsize
        try:
            info = stored.get_chunk_info_by_coord(start)
        except (ValueError, RuntimeError):
            return None
        if info.byte_offset is None:
            return None
        if info.size > 2 * size + 4096:
            raise ValueError(f"a chunk of {info.size} bytes, expected {size} unpacked")
        mask, data = stored.read_direct_chunk(start)
        for number, kind in reversed(list(enumerate(self._filters))):
            if mask >> number & 1:
                continue  # left out for this chunk
            if kind == _CHECKSUM:
                data = data[:-4]
            elif kind == _DEFLATE:
                one = zlib.decompressobj()
                data = one.decompress(data, size + 5)
            else:
                data = _unshuffled(data, self.dtype.itemsize)
        if len(data) != size:
            raise ValueError(f"a chunk unpacks to {len(data)} bytes or more, expected {size}")
        return np.frombuffer(data, self.dtype).reshape(shape)


def _unshuffled(data: bytes, item: int) -> bytes:
    """Bytes of the same place of each item lie together; a rest stays as it is."""
    whole = len(data) // item * item
    turned = np.frombuffer(data[:whole], np.uint8).reshape(item, -1).T
    return turned.tobytes() + bytes(data[whole:])


def _require_inside(path: Path, name: str, found: Any) -> None:
    """DatasetError when an array's bytes lie in other files."""
    if found.external is not None or found.is_virtual:
        raise DatasetError(
            f"{path}: the bytes of {name} lie in other files, which are not opened. If they are "
            "yours, copy them in: h5repack."
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Hdf5]:
    """Open the file for reading."""
    h5py = require("h5py", "data")
    require_plain(path, DatasetError)
    with said_by(f"{path} cannot be read", DatasetError):
        file = h5py.File(path, "r")
    with file:
        yield Hdf5(path, file)
