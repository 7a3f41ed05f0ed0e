"""The options of a rig's robot or camera against the kinds that its driver's signature names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from ofp_edge.strict import shown
from ofp_edge.toml import OPEN

_KINDS: dict[str, tuple[type[Any], ...]] = {
    "str": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "dict": (dict,),
    "Mapping": (dict,), "list": (list,), "tuple": (list,), "Sequence": (list,), "None": (),
}  # fmt: skip
_OF_TOML = (str, bool, int, float, list, dict)
_WORDS = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
    "dict": "a table", "Mapping": "a table", "list": "a list", "tuple": "a list",
    "Sequence": "a list",
}  # fmt: skip


def misfits(factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, str]:
    """Return, by option, what is wrong with its kind: a text where a number belongs, say. Options
    that are OPEN, that are nothing of TOML's, or of which the signature says nothing that TOML
    knows, are let be."""
    found = {}
    for key, wanted in inspect.signature(factory).parameters.items():
        names = _names(wanted.annotation)
        value = options.get(key)
        if (
            not isinstance(value, _OF_TOML)
            or value == OPEN
            or not names
            or set(names) - set(_KINDS)
        ):
            continue
        kinds = [kind for name in names for kind in _KINDS[name]]
        if not isinstance(value, tuple(kinds)) or (isinstance(value, bool) and bool not in kinds):
            words = " or ".join(dict.fromkeys(_WORDS[x] for x in names if x in _WORDS))
            found[key] = f"expected {words}, got {_written(value)}{_instead(key, value, kinds)}"
    return found


def is_open(value: Any) -> bool:
    """Say whether a value is OPEN or holds one that is."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value == OPEN or any(map(is_open, inside))


def _names(annotation: Any) -> list[str]:
    """The kinds of "dict[str, int | str] | None": dict and None."""
    if annotation is inspect.Parameter.empty:
        return []
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    while (less := re.sub(r"\[[^\[\]]*\]", "", text)) != text:
        text = less
    return [part.strip().rpartition(".")[2] for part in text.split("|")]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else shown(value)


def _instead(key: str, value: Any, kinds: list[type[Any]]) -> str:
    if isinstance(value, (bool, int, float)) and str in kinds:
        return f': quote it in the rig, {key} = "{_written(value)}"'
    number = isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value)
    return f": without quotes, {key} = {value}" if number else ""
