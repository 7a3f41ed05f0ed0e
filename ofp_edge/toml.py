"""A TOML file read strictly: entries are taken by name and type, and nothing may be left over."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ofp_edge.errors import OfpError


def read_toml(path: Path, error: type[OfpError]) -> Table:
    """The file's top table. Raises `error` (one line) when it is missing or not TOML."""
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except FileNotFoundError:
        raise error(f"{path} does not exist.") from None
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}.") from None
    except (TOMLKitError, UnicodeDecodeError) as cause:
        raise error(f"{path} is not valid TOML: {cause}") from None
    return Table(path, "", document, error)


class Table:
    """One table being read. `error` is raised, with file and entry, for whatever is wrong."""

    def __init__(
        self, path: Path, name: str, values: dict[str, Any], error: type[OfpError]
    ) -> None:
        self.path, self.name, self.values, self.error = path, name, dict(values), error

    def take(self, key: str, kind: type[Any], default: Any = None) -> Any:
        """An entry of a type (float takes an integer too); without a default it must be there."""
        if key not in self.values:
            if default is None:
                raise self.error(f"{self.path}: {self.where(key)}: missing.")
            return default
        value = self.values.pop(key)
        wanted = (int, float) if kind is float else kind
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            raise self.error(
                f"{self.path}: {self.where(key)}: expected {kind.__name__}, got {value!r}."
            )
        return value

    def positive(
        self, key: str, default: float | None = None, *, allow_zero: bool = False
    ) -> float:
        """A finite number above 0, or from 0 on."""
        value = float(self.take(key, float, default))
        if not (0 < value < math.inf or (allow_zero and value == 0)):
            raise self.error(
                f"{self.path}: {self.where(key)}: expected a positive number, got {value!r}."
            )
        return value

    def count(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number from `least` on."""
        value = int(self.take(key, int, default))
        if value < least:
            raise self.error(
                f"{self.path}: {self.where(key)}: expected {least} or more, got {value}."
            )
        return value

    def sub(self, key: str, *, optional: bool = False) -> Table:
        """A table inside this one."""
        name = f"{self.name}.{key}" if self.name else key
        values = self.take(key, dict, {} if optional else None)
        return Table(self.path, name, values, self.error)

    def each(self, key: str, *, optional: bool = False) -> list[Table]:
        """An array of tables, [[key]]; one that is not optional has at least one."""
        values = self.take(key, list, [] if optional else None)
        if not optional and not values:
            raise self.error(f"{self.path}: {self.where(key)}: expected at least one, got none.")
        for value in values:
            if not isinstance(value, dict):
                raise self.error(f"{self.path}: {self.where(key)}: expected tables, got {value!r}.")
        name = f"{self.name}.{key}" if self.name else key
        return [
            Table(self.path, f"{name} {number}", value, self.error)
            for number, value in enumerate(values, 1)
        ]

    def nothing_left(self) -> None:
        """Refuse what was not taken."""
        if self.values:
            raise self.error(f"{self.path}: {self.where(next(iter(self.values)))}: unknown entry.")

    def where(self, key: str) -> str:
        """The entry, as a user finds it in the file."""
        return f"[{self.name}] {key}" if self.name else key
