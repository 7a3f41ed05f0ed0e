"""The action of a source: which key it is, and the fields that its columns become."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ofp_edge.data.guess.columns import Group, grouped, titles
from ofp_edge.data.guess.evidence import Seen, see
from ofp_edge.data.guess.names import short, unique
from ofp_edge.data.guess.sections import sections
from ofp_edge.data.guess.verdict import ASKED
from ofp_edge.data.guess.words import is_action, kind_of, tokens
from ofp_edge.data.mapping import Entry
from ofp_edge.data.source import Control, Key, Source
from ofp_edge.data.taken import LEFT, Taken
from ofp_edge.errors import DatasetError

_USUAL = ("action", "actions", "action/vector")
_MOST_STATES = 6
_HOLD = {"delta": 0.0, "velocity": 0.0}


@dataclass
class Actions:
    """The fields of the action, the rows that say so, and what is asked for, one line each.

    likely: the fields with an answer to what is asked. same: states with the action's very values.
    """

    entries: list[Entry] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    likely: list[Entry] = field(default_factory=list)
    same: set[str] = field(default_factory=set)


def actions(source: Source, states: Sequence[str], names: Collection[str]) -> Actions:
    """Guess the action's fields. states: the keys to hold its values against; names: those that
    other fields have.

    DatasetError where no key, or more than one, looks like it.
    """
    keys = _keys(source)
    made = Actions()
    for key in keys:
        whole = "action" if len(keys) == 1 else f"action_{short(key)}"
        seen = see(source, key, beside(source, states))
        with np.errstate(all="ignore"):  # what overflows proves nothing
            _add(source, key, whole, seen, names, made)
    forms = "another form of the action, or a part of it: a mapping can name it"
    for key, about in source.keys.items():
        if key not in keys and is_action(key) and _is_vector(about) and _inside(key):
            made.taken.append(Taken(key, None, LEFT, forms))
    return made


def inline(entries: Sequence[Entry]) -> str:
    """Write entries in one line that a mapping file takes, above its tables."""
    parts = []
    for entry in entries:
        values: dict[str, Any] = {"name": entry.name, "key": entry.key}
        columns = {} if entry.columns is None else {"columns": list(entry.columns)}
        values = {**values, **columns, **{k: v for k, v in entry.values.items() if k != "name"}}
        parts.append("{" + ", ".join(f"{k} = {_plain(v)}" for k, v in values.items()) + "}")
    return f"action = [{', '.join(parts)}]"


def beside(source: Source, states: Sequence[str]) -> list[str]:
    """Return the states that an action is likely to follow, the likeliest first."""
    likely = ("eef", "tcp", "joint", "joints", "qpos", "state", "pos", "position", "pose", "agent")
    told = [x for x in states if {*tokens(x)} & {*likely}]
    return (told or list(states))[:_MOST_STATES]


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _add(
    source: Source,
    key: str,
    whole: str,
    seen: Seen,
    taken: Collection[str],
    made: Actions,
) -> None:
    about = source.keys[key]
    width = about.shape[0] if about.shape else 1
    names = source.names.get(key, ())
    names = names if len(names) == width else ()
    controls = source.controls or (Control("", _stated(source.delta)),)
    groups = grouped(key, sections(width, controls, seen, names, source.delta is True), seen, names)
    fields = titles(groups, whole)
    if len(groups) > 1 and whole != "action":
        fields = [f"{whole}_{x}" for x in fields]
    for group, title in zip(groups, fields, strict=True):
        name = unique(title, [*taken, *(x.name for x in made.entries)])
        columns = None if len(groups) == 1 else (group.first, group.stop)
        values = _values(group, name)
        made.entries.append(Entry(key, values, columns))
        told = f"action {name}: {_told(values)}"
        made.taken.append(Taken(key, columns, told, group.verdict.why, name))
        if group.verdict.asked is not None:
            at = f"{key}, columns {group.first} to {group.stop - 1}" if width > 1 else key
            made.asked.append(f"{at}: {group.verdict.asked}")
            values = {**values, "kind": group.verdict.likely}
            held = {"hold": 0.0} if group.verdict.likely in _HOLD else {}
            values = {**values, **held}
        made.likely.append(Entry(key, values, columns))
    made.same |= {name for name in seen.states if seen.same(name)}


def _stated(delta: bool | None) -> str | None:
    return None if delta is None else "delta" if delta else "absolute"


def _values(group: Group, name: str) -> dict[str, Any]:
    kind = group.verdict.kind
    hold = {"hold": _HOLD[kind]} if kind in _HOLD else {}
    switch = {"interpolation": "nearest"} if group.role in ("gripper", "mode") else {}
    turned = {"rotation": "rot6d"} if group.role == "rot6d" and kind != ASKED else {}
    return {"name": name, "kind": kind, "unit": "1", "frame": "unknown", "scale": 1.0,
            **hold, **switch, **turned}  # fmt: skip


def _told(values: dict[str, Any]) -> str:
    """As a person reads it: absolute, nearest, held."""
    kind = "to be asked" if values["kind"] == ASKED else values["kind"]
    parts = [kind, *(values[x] for x in ("interpolation", "rotation") if x in values)]
    held = "hold 0" if "hold" in values else "held"
    return ", ".join([*parts, held] if values["kind"] != ASKED else parts)


def _keys(source: Source) -> list[str]:
    """The keys that are the action."""
    if keys := [name for name in _USUAL if name in source.keys][:1]:
        if not _is_vector(about := source.keys[keys[0]]):
            raise DatasetError(
                f"{source.path}: {keys[0]}: frames of {about.shape} {about.dtype}, expected an "
                "action of numbers (D,). Write a mapping file."
            )
        return keys
    keys = [x for x in source.keys if x.startswith("action/") and x.endswith("joint_states")]
    if keys:  # RoboTwin's native layout has one an arm and hand
        return keys
    keys = [name for name, about in source.keys.items() if is_action(name) and _is_vector(about)]
    if len(keys) > 1:
        lines = [Entry(key, _values_of(key, source)) for key in keys]
        raise DatasetError(
            f"{source.path}: {len(keys)} keys look like an action: {', '.join(keys)}. Write a "
            f"mapping file with those that the robot gets: {inline(lines)}."
        )
    if not keys:
        raise DatasetError(
            f"{source.path}: no key looks like an action: {', '.join(source.keys)}. Write a "
            "mapping file."
        )
    return keys


def _values_of(key: str, source: Source) -> dict[str, Any]:
    named = kind_of(key)
    kind = named if named in ("delta", "velocity") else "absolute"
    hold = {"hold": 0.0} if kind in _HOLD else {}
    return {"name": short(key), "kind": kind, "unit": "1", "frame": "unknown", **hold}


def _is_vector(about: Key) -> bool:
    return len(about.shape) <= 1 and about.dtype.startswith(("float", "int", "uint", "bool"))


def _inside(key: str) -> bool:
    """Whether it is a part or a form of the action, not one of somebody else's."""
    return re.split(r"[./]", key)[0] in ("action", "actions", "action_dict", "actions_abs")
