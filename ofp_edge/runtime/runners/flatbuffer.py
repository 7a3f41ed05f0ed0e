"""FlatBuffers read as plain dictionaries, by a schema, with every offset held inside the buffer.

    "Table": ("name kind", ...)     fields in the order of their ids

Kinds: u1 u2 u4 u8 i1 i2 i4 i8 f4 (numbers), s (text), [kind] (vector), Table, and Union:A,B,C (two
ids: which, and the table; `-` is passed over). Absent fields are 0, "" or empty; an absent table is
None. (https://flatbuffers.dev/internals)
"""

from __future__ import annotations

import struct
from typing import Any

Schema = dict[str, tuple[str, ...]]
Row = dict[str, Any]

_NUMBERS = {
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "f4": "f",
}
_DEEPEST, _MOST_TABLES = 16, 1_000_000


class Reader:
    """Reads one buffer. Raises ValueError wherever it leads out of itself, or nests without end."""

    def __init__(self, data: bytes | memoryview, schema: Schema) -> None:
        self.data, self.schema, self._tables = memoryview(data), schema, 0

    def root(self, table: str) -> Row:
        """Return the buffer's root table."""
        return self._table(table, self._number("u4", 0), 0)

    def _number(self, kind: str, at: int) -> Any:
        form = _NUMBERS[kind]
        size = int(kind[1])
        if at < 0 or at + size > len(self.data):
            raise ValueError("an offset leads out of the buffer")
        return struct.unpack_from(f"<{form}", self.data, at)[0]

    def _table(self, name: str, at: int, depth: int) -> Row:
        self._tables += 1
        if depth > _DEEPEST or self._tables > _MOST_TABLES:
            raise ValueError("tables nest without end")
        index = at - self._number("i4", at)
        size = self._number("u2", index)
        row: Row = {}
        slot = 0
        for field in self.schema[name]:
            key, kind = field.split(" ")
            union = kind.startswith("Union:")
            where = self._place(index, size, slot, at)
            slot += 2 if union else 1
            if union:
                which = self._number("u1", where) if where else 0
                value = self._place(index, size, slot - 1, at)
                row[key], row[f"{key}_kind"] = self._union(kind, which, value, depth)
            else:
                row[key] = self._value(kind, where, depth)
        return row

    def _place(self, index: int, size: int, slot: int, at: int) -> int | None:
        entry = 4 + 2 * slot
        offset = self._number("u2", index + entry) if entry + 2 <= size else 0
        return at + offset if offset else None

    def _union(self, kind: str, which: int, at: int | None, depth: int) -> tuple[Row | None, str]:
        names = kind.removeprefix("Union:").split(",")
        if not which or at is None:
            return None, ""
        if which > len(names):
            raise ValueError(f"a value of unknown kind {which}")
        name = names[which - 1]
        return (None if name == "-" else self._follow(name, at, depth)), name

    def _follow(self, name: str, at: int, depth: int) -> Row:
        return self._table(name, at + self._number("u4", at), depth + 1)

    def _value(self, kind: str, at: int | None, depth: int) -> Any:
        if kind in _NUMBERS:
            return 0 if at is None else self._number(kind, at)
        if kind == "s":
            return "" if at is None else bytes(self._vector("u1", at)).decode("utf-8", "replace")
        if not kind.startswith("["):
            return None if at is None else self._follow(kind, at, depth)
        if at is None:
            return []
        inner = kind[1:-1]
        if inner in _NUMBERS:
            return self._vector(inner, at)
        start, count = self._span(4, at)
        return [self._follow(inner, start + 4 * number, depth) for number in range(count)]

    def _span(self, size: int, at: int) -> tuple[int, int]:
        """(first byte, number of elements) of a vector."""
        start = at + self._number("u4", at)
        count = self._number("u4", start)
        if start + 4 + size * count > len(self.data):
            raise ValueError("a vector is longer than the buffer")
        return start + 4, count

    def _vector(self, kind: str, at: int) -> Any:
        start, count = self._span(int(kind[1]), at)
        if kind == "u1":
            return self.data[start : start + count]
        return struct.unpack_from(f"<{count}{_NUMBERS[kind]}", self.data, start)
