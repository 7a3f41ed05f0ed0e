"""Read JSON from outside, bounded in size and depth, into dataclasses entry by entry.

What is missing, unknown or of another type is named by its place:
manifest.json: artefacts[2].size: expected a whole number, got 'x' (a str, no int).
"""

from __future__ import annotations

import functools
import json
import math
import sys
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union

from ofp_edge.errors import OfpError, SpecMismatch
from ofp_edge.outside import MEBIBYTE, read_plain, require_size

T = TypeVar("T")

LARGEST_JSON = 16 * MEBIBYTE
"""The most bytes a JSON file may have; those we write have a few hundred kilobytes."""
DEEPEST = 48
_LARGEST_WHOLE = 2**63 - 1
_LONGEST_TEXT, _SHOWN = 1 << 20, 60
_NOTHING: Mapping[str, Any] = {}
_ONE = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
_MANY = {int: "whole numbers", float: "numbers", str: "texts", bool: "true and false"}


def read_json_file(
    path: Path, error: type[OfpError], *, largest: int = LARGEST_JSON, inside: Path | None = None
) -> Any:
    """Read a plain file's JSON, or raise `error`, one line: missing, too large, too deep, no JSON.

    inside: the folder it must lie in, after following links.
    """
    data = read_plain(path, error, largest, inside=inside)
    return parse_json(data, str(path), error, largest=largest)


def parse_json(
    data: bytes | str, what: str, error: type[OfpError], *, largest: int = LARGEST_JSON
) -> Any:
    """Parse JSON of at most `largest` bytes and DEEPEST levels, no NaN or infinity; or `error`."""
    require_size(Path(what), len(data), error, largest)
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise error(f"{what}: nested deeper than {DEEPEST} levels.") from None
    except MemoryError:
        raise error(f"{what}: too little memory to read it.") from None
    except ValueError as cause:
        raise error(f"{what} is not valid JSON: {cause}") from None
    if _deeper(value, DEEPEST):
        raise error(f"{what}: nested deeper than {DEEPEST} levels.")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # 1e999, which no writer of JSON could give back
        raise ValueError(f"{shown(text)} is beyond any number")
    return value


def _deeper(value: Any, limit: int) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(limit):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return bool(level)


def read_as(
    kind: type[T], value: Any, what: str, error: type[OfpError], at: str = "", *,
    others: bool = False, **built: Any,
) -> T:  # fmt: skip
    """Read `value` as the dataclass `kind`, by its annotations: strict about names and types.

    A dataclass with a static `class_of(value, place)` is read as the class that this names.
    Entries with a default may be missing; others: those that are not ours are passed over. what:
    the file, or ""; at: the entry in it that `value` is. built: fields that are ready made,
    whatever `value` has for them.
    Numbers are finite; a whole number passes for a float, and stays one. Raises `error`, also for
    what the dataclass itself refuses.
    """
    return typing.cast(T, _dataclass(kind, value, Place(what, at, error, others), built))


class Place:
    """The place of a value in a file, and the error to raise about it."""

    def __init__(self, what: str, at: str, error: type[OfpError], others: bool = False) -> None:
        self.what, self.at, self.error, self.others = what, at, error, others

    def __str__(self) -> str:
        return ": ".join(x for x in (self.what, self.at) if x)

    def entry(self, key: str) -> Place:
        """Return the place of an object's entry."""
        return Place(self.what, f"{self.at}.{key}" if self.at else key, self.error, self.others)

    def item(self, number: int) -> Place:
        """Return the place of a list's item."""
        return Place(self.what, f"{self.at}[{number}]", self.error, self.others)

    def refuse(self, expected: str, got: str) -> NoReturn:
        """Raise the error; a SpecMismatch takes its parts."""
        if issubclass(self.error, SpecMismatch):
            raise self.error(str(self), expected, got) from None
        raise self.error(f"{self}: expected {expected}, got {got}.") from None


def shown(value: Any) -> str:
    """Format a value for a message: short, one line, without what a terminal can't print."""
    if isinstance(value, (dict, list, tuple)) and len(repr(value)) > _SHOWN:
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value) if not isinstance(value, str) or value.isprintable() else ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _dataclass(
    kind: type[Any], value: Any, place: Place, built: Mapping[str, Any] = _NOTHING
) -> Any:
    if not isinstance(value, dict):
        place.refuse("an object", type(value).__name__)
    if (chosen := getattr(kind, "class_of", None)) is not None:
        kind = chosen(value, place)
    known = {x.name: x for x in fields(kind) if x.init and x.name not in built}
    for name, entry in known.items():
        if name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            place.entry(name).refuse("an entry", "none: it is missing")
    for name in value:
        if name not in known and name not in built and not place.others:
            place.entry(shown(name)[1:-1]).refuse("no such entry", "an unknown entry")
    hints = _hints(typing.cast(Any, kind))
    values = {
        name: _read(hints[name], value[name], place.entry(name)) for name in known if name in value
    }
    try:
        return kind(**values, **built)
    except OfpError as cause:
        if isinstance(cause, place.error):
            raise
        raise place.error(f"{place}: {cause}") from None


def _read(hint: Any, value: Any, place: Place) -> Any:
    if hint in _ONE:
        return _scalar(hint, value, place)
    if is_dataclass(hint):
        return _dataclass(typing.cast(Any, hint), value, place)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is list or (origin is tuple and parts[-1] is ...):
        return origin(_items(parts[0], value, place))
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or len(value) != len(parts):
            place.refuse(f"a list of {len(parts)}", shown(value))
        return tuple(_read(parts[i], item, place.item(i)) for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            place.refuse("an object", type(value).__name__)
        return {
            _scalar(str, key, place): _read(parts[1], item, place.entry(shown(key)[1:-1]))
            for key, item in value.items()
        }
    if origin is Literal:
        if not isinstance(value, str) or value not in parts:
            place.refuse(f"one of {', '.join(parts)}", shown(value))
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        (one,) = [part for part in parts if part is not type(None)]
        return _read(one, value, place)
    return value  # Any: the caller's own


def _items(kind: Any, value: Any, place: Place) -> list[Any]:
    wanted = f"a list of {_MANY.get(kind, 'entries')}"
    if not isinstance(value, (list, tuple)):
        place.refuse(wanted, shown(value))
    if kind not in _ONE:
        return [_read(kind, item, place.item(number)) for number, item in enumerate(value)]
    for number, item in enumerate(value):
        if not _fits(kind, item):
            place.refuse(wanted, f"{shown(item)} at [{number}]")
    return list(value)


def _fits(kind: type[Any], value: Any) -> bool:
    if not isinstance(value, (int, float) if kind is float else kind):
        return False
    if isinstance(value, bool) and kind is not bool:
        return False
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT and not any("\ud800" <= x <= "\udfff" for x in value)
    limit = _LARGEST_WHOLE if isinstance(value, int) else sys.float_info.max
    return kind is bool or abs(value) <= limit


def _scalar(kind: type[Any], value: Any, place: Place) -> Any:
    if not _fits(kind, value):
        same = type(value) is kind or (kind is float and type(value) is int)
        why = "" if same else f" (a {type(value).__name__}, no {kind.__name__})"
        place.refuse(_ONE[kind], f"{shown(value)}{why}")
    return value
