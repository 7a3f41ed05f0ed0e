"""Numbers of a log that plotting tools draw: the exact rows once more, as JSON by name.

    /numbers/tick   state, wanted, sent: by field and name; wake_up_us, plan_age_ms, cuts, misses
    /numbers/plan   capture_to_ready_ms, spare_ms (before it is due), act_ms, evaluations

They are made by the log's own thread from the row that was just written, rounded to seven digits,
and nothing reads them back: replay takes the exact bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ofp_edge.spec import ActionField, ObservationField, PolicySpec

TICK, PLAN = "/numbers/tick", "/numbers/plan"
_PLACE = ("x", "y", "z")
_NUMBER = {"type": ["number", "null"]}


def names_of(
    field: ObservationField | ActionField, joints: Sequence[str] | None
) -> tuple[str, ...]:
    """Return a name for each number of a field: the robot's joints where it has as many, x, y, z of
    a place in metres, else x0, x1, …"""
    size = field.shape[0]
    if isinstance(joints, (list, tuple)) and all(isinstance(x, str) for x in joints):
        if len(joints) == size == len(set(joints)):
            return tuple(joints)
    unit = str(getattr(field, "unit", ""))
    if size == len(_PLACE) and unit in ("m", "m/s"):
        return _PLACE
    return tuple(f"x{number}" for number in range(size))


def names_in(spec: PolicySpec, joints: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the names of every state's and action's numbers: an entry of the log's header."""
    fields: list[ObservationField | ActionField] = [*spec.states, *spec.actions]
    return {f.name: list(names_of(f, joints)) for f in fields}


class Numbers:
    """Makes the rows. One thread. names: by field, as `names_in` says."""

    def __init__(self, spec: PolicySpec, names: Mapping[str, Sequence[str]]) -> None:
        self._states = [(f.name, list(names[f.name])) for f in spec.states]
        self._actions = [(f.name, list(names[f.name])) for f in spec.actions]
        size = sum(len(keys) for _, keys in self._actions)
        self._sizes = [*(len(keys) for _, keys in self._states), size, size]
        self._template = self._form()
        self.schemas = {TICK: self._tick_schema(), PLAN: _schema(dict.fromkeys(_PLAN, _NUMBER))}

    def of(self, topic: str, row: Mapping[str, Any]) -> tuple[str, bytes] | None:
        """Return the topic and the JSON of the row that `row` of `topic` makes, or None where it
        makes none. Arrays are as the run gave them."""
        if topic == "/command":
            return TICK, self._quickly(row) or _json(self._tick(row))
        if topic == "/plan":
            ready, due, seen = row["ready_ns"], row["due_ns"], row["t_obs_ns"]
            made = {
                "t_ns": seen,
                "capture_to_ready_ms": (ready - seen) / 1e6,
                "spare_ms": (due - ready) / 1e6,
                "act_ms": row["act_ns"] / 1e6,
                "evaluations": row["evaluations"],
            }
            return PLAN, _json(made)
        return None

    def _quickly(self, row: Mapping[str, Any]) -> bytes | None:
        """The row of a usual tick by one formatting, a twentieth of the time that dictionaries
        take; None where something is missing or is no finite number."""
        action, wanted, seen_ns = row["action"], row["wanted"], row["t_obs_ns"]
        heard = [x["values"] for x in row["heard"] if x["event"] == "state"]
        if action is None or wanted is None or seen_ns is None or not (row["sent"] and heard):
            return None
        arrays = [*(heard[-1].get(name) for name, _ in self._states), wanted, action]
        for array, size in zip(arrays, self._sizes, strict=True):
            if not isinstance(array, np.ndarray) or array.shape != (size,):
                return None
            if array.dtype.kind != "f":
                return None
        numbers = [x for array in arrays for x in array.tolist()]
        if not math.isfinite(sum(numbers)):
            return None
        tick_ns = row["tick_ns"]
        late_us, age_ms = (row["woke_ns"] - tick_ns) / 1e3, (tick_ns - seen_ns) / 1e6
        counts = (len(row["cut"]), row["misses"])
        return (self._template % (tick_ns, *numbers, late_us, age_ms, *counts)).encode()

    def _form(self) -> str:
        """A tick's row with a place for each number, in the order of `_quickly`."""

        def fields(named: list[tuple[str, list[str]]]) -> str:
            parts = []
            for name, keys in named:
                values = ", ".join(f"{_quoted(key)}: %.7g" for key in keys)
                parts.append(f"{_quoted(name)}: {{{values}}}")
            return f"{{{', '.join(parts)}}}"

        states, actions = fields(self._states), fields(self._actions)
        return (
            f'{{"t_ns": %d, "state": {states}, "wanted": {actions}, "sent": {actions}, '
            '"wake_up_us": %.7g, "plan_age_ms": %.7g, "cuts": %d, "misses": %d}'
        )

    def _tick(self, row: Mapping[str, Any]) -> dict[str, Any]:
        tick_ns, seen_ns = row["tick_ns"], row["t_obs_ns"]
        heard = [x["values"] for x in row["heard"] if x["event"] == "state"]
        told: Mapping[str, Any] = heard[-1] if heard else {}
        return {
            "t_ns": tick_ns,
            "state": {name: _named(told.get(name), keys) for name, keys in self._states},
            "wanted": self._split(row["wanted"]),
            "sent": self._split(row["action"] if row["sent"] else None),
            "wake_up_us": (row["woke_ns"] - tick_ns) / 1e3,
            "plan_age_ms": None if seen_ns is None else (tick_ns - seen_ns) / 1e6,
            "cuts": len(row["cut"]),
            "misses": row["misses"],
        }

    def _split(self, action: Any) -> dict[str, dict[str, float | None]]:
        made, first = {}, 0
        for name, keys in self._actions:
            end = first + len(keys)
            made[name] = _named(None if action is None else action[first:end], keys)
            first = end
        return made

    def _tick_schema(self) -> dict[str, Any]:
        def fields(named: list[tuple[str, list[str]]]) -> dict[str, Any]:
            return _schema({name: _schema(dict.fromkeys(keys, _NUMBER)) for name, keys in named})

        parts = {
            "state": fields(self._states),
            "wanted": fields(self._actions),
            "sent": fields(self._actions),
        }
        return _schema({**dict.fromkeys(_TICK, _NUMBER), **parts})


def _json(row: Mapping[str, Any]) -> bytes:
    """A row in JSON; a driver's stamp may be numpy's."""
    return json.dumps(
        row, default=lambda x: x.item() if isinstance(x, np.generic) else None
    ).encode()


_TICK = ("t_ns", "wake_up_us", "plan_age_ms", "cuts", "misses")
_PLAN = ("t_ns", "capture_to_ready_ms", "spare_ms", "act_ms", "evaluations")


def _named(values: Any, keys: Sequence[str]) -> dict[str, float | None]:
    """The values by name; null what is not there, no number, or of another length."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):  # a driver may say anything
        return dict.fromkeys(keys)
    if found.shape != (len(keys),):
        return dict.fromkeys(keys)
    if not np.isfinite(found).all():
        found = np.where(np.isfinite(found), found, np.nan)
    rounded = [float(f"{x:.7g}") for x in found.tolist()]
    return {key: None if x != x else x for key, x in zip(keys, rounded, strict=True)}


def _quoted(name: str) -> str:
    """A name in JSON, inside a template for `%`."""
    return json.dumps(name).replace("%", "%%")


def _schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": sorted(properties)}
