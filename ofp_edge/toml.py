"""Read a TOML file strictly: entries are taken by name and type, and nothing may be left over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
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
OPEN = "?"
"""What stands in a file that ofp-edge drafted where only a person can know."""
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


@dataclass(frozen=True)
class Question:
    """An entry that still is OPEN: where it stands, and what the file says beside it."""

    where: str
    about: str

    def __str__(self) -> str:
        return f"{self.where}: not known yet{': ' * bool(self.about)}{self.about}"


def questions(document: tomlkit.TOMLDocument) -> list[Question]:
    """Return the entries of a document that are still OPEN, in the file's order."""
    found: list[Question] = []

    def look(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                look_at(name, str(key), item)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                look_at(name, str(number), item)

    def look_at(name: str, key: str, item: Any) -> None:
        if isinstance(item, str) and item == OPEN:
            comment = getattr(getattr(item, "trivia", None), "comment", "")
            where = f"[{name}] {key}" if name else key
            found.append(Question(where, comment.lstrip("# ").strip()))
        else:
            look(f"{name}.{key}" if name else key, item)

    look("", document)
    return found


class Table:
    """One table being read. `error` is raised, with file and entry, for whatever is wrong.

    found: a list takes what is wrong instead, a line each, and reading goes on with something of
    the entry's type: what is read is then not to be used.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        values: dict[str, Any],
        error: type[OfpError],
        found: list[str] | None = None,
    ) -> None:
        self.path, self.name, self.values, self.error = path, name, dict(values), error
        self.found = found

    def take(self, key: str, kind: type[Any], default: Any = None) -> Any:
        """Take an entry of a type (float takes an integer too); without a default it is needed."""
        return self._taken(key, kind, default, kind() if default is None else default)[0]

    def positive(
        self, key: str, default: float | None = None, *, allow_zero: bool = False
    ) -> float:
        """Take a number above 0, or from 0 on, within SMALLEST and LARGEST."""
        taken, fits = self._taken(key, float, default, 1.0)
        value = float(taken)
        if fits and not (SMALLEST <= value <= LARGEST or (allow_zero and value == 0)):
            return float(self._wrong(key, f"expected a positive number, got {value!r}", 1.0))
        return value

    def count(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """Take a whole number, `least` or more."""
        value, fits = self._taken(key, int, default, least)
        if fits and value < least:
            return int(self._wrong(key, f"expected {least} or more, got {value}", least))
        return int(value)

    def text(self, key: str) -> str | None:
        """Take a text that is not blank; None where there is no such entry."""
        if key not in self.values:
            return None
        name: str = self.take(key, str)
        if not name.strip():
            return str(self._wrong(key, f"expected a name, got {name!r}", OPEN))
        return name

    def sub(self, key: str, *, optional: bool = False) -> Table:
        """Take a table inside this one."""
        name = f"{self.name}.{key}" if self.name else key
        values = self.take(key, dict, {} if optional else None)
        return Table(self.path, name, values, self.error, self.found)

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
            Table(self.path, f"{name} {number}", value, self.error, self.found)
            for number, value in enumerate(values, 1)
        ]

    def nothing_left(self) -> None:
        """Refuse entries that were not taken."""
        for key in self.values:
            self._wrong(key, "unknown entry", None)

    def where(self, key: str) -> str:
        """Name the entry as a user finds it in the file."""
        return f"[{self.name}] {key}" if self.name else key

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Let `found` take an error raised inside, where there is one."""
        try:
            yield
        except OfpError as cause:
            if self.found is None:
                raise
            self.found.append(str(cause))

    def _taken(self, key: str, kind: type[Any], default: Any, otherwise: Any) -> tuple[Any, bool]:
        """The entry and True, or `otherwise` and False where `found` took what is wrong."""
        if key not in self.values:
            if default is None:
                return self._wrong(key, "missing", otherwise), False
            return default, True
        value = self.values.pop(key)
        wanted = (int, float) if kind is float else kind
        fits = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
        if not fits or (isinstance(value, int) and abs(value) > _LARGEST_WHOLE):
            if value == OPEN and self.found is not None:
                return otherwise, False  # listed by whoever collects
            why = f"expected {kind.__name__}, got {shown(value)}"
            return self._wrong(key, why, otherwise), False
        return value, True

    def _wrong(self, key: str, why: str, otherwise: Any) -> Any:
        line = f"{self.path}: {self.where(key)}: {why}."
        if self.found is None:
            raise self.error(line)
        self.found.append(line)
        return otherwise
