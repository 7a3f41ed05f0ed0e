"""Strict reading of JSON into dataclasses: missing, unknown and ill-typed entries are named."""

from __future__ import annotations

import typing
from dataclasses import fields
from typing import Any, TypeVar

from ofp_edge.errors import PolicyError

T = TypeVar("T")


def flat_from_json(kind: type[T], value: Any, what: str, **built: Any) -> T:
    """A dataclass of numbers and tuples of numbers; strict about keys and types.

    built: entries that are no such thing, ready made and not in `value`.
    """
    if isinstance(value, dict):
        value = {**value, **built}
    given = checked(kind, value, what)
    hints = typing.get_type_hints(kind)
    values = dict(built)
    for key, item in given.items():
        if key in built:
            continue
        hint = hints[key]
        if hint in (int, float, bool):
            allowed = (int, float) if hint is float else (hint,)
            if type(item) not in allowed:
                raise PolicyError(f"{what}.{key}: expected {hint.__name__}, got {item!r}.")
            values[key] = hint(item)
        else:
            whole = isinstance(item, list) and all(type(number) is int for number in item)
            if not whole or not item:
                raise PolicyError(f"{what}.{key}: expected a list of whole numbers, got {item!r}.")
            values[key] = tuple(item)
    return kind(**values)


def checked(kind: type[Any], value: Any, what: str) -> dict[str, Any]:
    """`value` itself, an object with exactly the entries of `kind`; else PolicyError."""
    if not isinstance(value, dict):
        raise PolicyError(f"{what}: expected an object, got {type(value).__name__}.")
    known = {entry.name for entry in fields(kind)}
    if missing := sorted(known - set(value)):
        raise PolicyError(f"{what}.{missing[0]}: missing entry.")
    if unknown := sorted(set(value) - known):
        raise PolicyError(f"{what}.{unknown[0]}: unknown entry.")
    return value
