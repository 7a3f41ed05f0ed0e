"""Read a TOML file strictly: entries are taken by name and type, and nothing may be left over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomlkit

from ofp_edge.errors import OfpError
from ofp_edge.outside import read_plain, said_by
from ofp_edge.strict import shown

LARGEST_BYTES = 64 << 10
"""The most bytes a file may have; a rig has a few kilobytes."""
SMALLEST, LARGEST = 1e-12, 1e12
"""The bounds of a positive number: what a unit or a time can sensibly be."""
_LARGEST_WHOLE = 2**63 - 1


def parse_toml(path: Path, error: type[OfpError]) -> tomlkit.TOMLDocument:
    """Parse a document, keeping the file's comments. Raises `error` (one line) when the file is
    missing, too large, no plain file or not TOML."""
    data = read_plain(path, error, LARGEST_BYTES)
    with said_by(f"{path} is not valid TOML", error):
        document = tomlkit.parse(data.decode("utf-8"))
        document.unwrap()
    return document


def read_toml(path: Path, error: type[OfpError]) -> Table:
    """Return the file's top table. Raises `error` (one line) as `parse_toml` does."""
    return Table(path, "", parse_toml(path, error).unwrap(), error)


class Table:
    """One table being read. `error` is raised, with file and entry, for whatever is wrong."""

    def __init__(
        self, path: Path, name: str, values: dict[str, Any], error: type[OfpError]
    ) -> None:
        self.path, self.name, self.values, self.error = path, name, dict(values), error

    def take(self, key: str, kind: type[Any], default: Any = None) -> Any:
        """Take an entry of a type (float takes an integer too); without a default it is needed."""
        if key not in self.values:
            if default is None:
                raise self.error(f"{self.path}: {self.where(key)}: missing.")
            return default
        value = self.values.pop(key)
        wanted = (int, float) if kind is float else kind
        fits = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
        if not fits or (isinstance(value, int) and abs(value) > _LARGEST_WHOLE):
            raise self.error(
                f"{self.path}: {self.where(key)}: expected {kind.__name__}, got {shown(value)}."
            )
        return value

    def positive(
        self, key: str, default: float | None = None, *, allow_zero: bool = False
    ) -> float:
        """Take a number above 0, or from 0 on, within SMALLEST and LARGEST."""
        value = float(self.take(key, float, default))
        if not (SMALLEST <= value <= LARGEST or (allow_zero and value == 0)):
            raise self.error(
                f"{self.path}: {self.where(key)}: expected a positive number, got {value!r}."
            )
        return value

    def count(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """Take a whole number, `least` or more."""
        value = int(self.take(key, int, default))
        if value < least:
            raise self.error(
                f"{self.path}: {self.where(key)}: expected {least} or more, got {value}."
            )
        return value

    def text(self, key: str) -> str | None:
        """Take a text that is not blank; None where there is no such entry."""
        if key not in self.values:
            return None
        name: str = self.take(key, str)
        if not name.strip():
            raise self.error(f"{self.path}: {self.where(key)}: expected a name, got {name!r}.")
        return name

    def sub(self, key: str, *, optional: bool = False) -> Table:
        """Take a table inside this one."""
        name = f"{self.name}.{key}" if self.name else key
        values = self.take(key, dict, {} if optional else None)
        return Table(self.path, name, values, self.error)

    def each(self, key: str, *, optional: bool = False) -> list[Table]:
        """Take an array of tables, [[key]]; unless optional, it has at least one."""
        values = self.take(key, list, [] if optional else None)
        if not optional and not values:
            raise self.error(f"{self.path}: {self.where(key)}: expected at least one, got none.")
        for value in values:
            if not isinstance(value, dict):
                got = shown(value)
                raise self.error(f"{self.path}: {self.where(key)}: expected tables, got {got}.")
        name = f"{self.name}.{key}" if self.name else key
        return [
            Table(self.path, f"{name} {number}", value, self.error)
            for number, value in enumerate(values, 1)
        ]

    def nothing_left(self) -> None:
        """Refuse entries that were not taken."""
        if self.values:
            raise self.error(f"{self.path}: {self.where(next(iter(self.values)))}: unknown entry.")

    def where(self, key: str) -> str:
        """Name the entry as a user finds it in the file."""
        return f"[{self.name}] {key}" if self.name else key
