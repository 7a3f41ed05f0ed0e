"""Whether a dataset's fields are the wanted ones: by name, each entry alike but measured ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from ofp_edge.camera_parameters import UNKNOWN
from ofp_edge.errors import SpecMismatch
from ofp_edge.fields import Text
from ofp_edge.spec import ActionField, ObservationField

_RANGE = ("low", "high")
_STATED = ("unit", "frame")
_TOLD = "Train with --instructed: every dataset's episodes then tell the policy their own words."
_REMEDY = "Give data recorded like it, or a mapping that says how its keys are meant."


def require_alike(
    wanted: Sequence[ObservationField | ActionField],
    have: Sequence[ObservationField | ActionField],
    what: str,
    *,
    exact: bool,
    unstated: bool = False,
) -> None:
    """Raise SpecMismatch naming the first difference, of fields in any order. Ranges of measured
    values are each dataset's own; a camera's say how it is cropped. exact: there are no others.
    unstated: a unit and a frame that one side does not state are not compared."""
    theirs = {field.name: field for field in have}
    names = [field.name for field in wanted]
    if set(names) - set(theirs) or exact and set(theirs) != set(names):
        differ = [x for x in (*wanted, *have) if (x.name in names) != (x.name in theirs)]
        todo = _TOLD if any(isinstance(x, Text) for x in differ) else _REMEDY
        raise SpecMismatch(f"{what} fields", ", ".join(names), ", ".join(theirs), todo)
    for field in wanted:
        other = theirs[field.name]
        if type(other) is not type(field):
            kinds = type(field).__name__, type(other).__name__
            raise SpecMismatch(f"{what} {field.name!r}", *kinds, _REMEDY)
        cropped = getattr(field, "camera", None) is not None
        for entry in fields(field):
            if entry.name in _RANGE and not cropped:
                continue
            both = all(_states(x, entry.name) for x in (field, other))
            if unstated and entry.name in _STATED and not both:
                continue
            expected, got = getattr(field, entry.name), getattr(other, entry.name)
            if expected != got:
                raise SpecMismatch(f"{what} {field.name!r}, {entry.name}", expected, got, _REMEDY)


def _states(field: ObservationField | ActionField, entry: str) -> bool:
    """Whether a field states its unit or its frame: a unit of "1" in an unknown frame says that
    nobody did; another one was stated, though the frame was not."""
    if getattr(field, "frame", None) != UNKNOWN:
        return True
    return entry == "unit" and getattr(field, "unit", UNKNOWN) not in ("1", UNKNOWN)


def require_same_rate(wanted_hz: float, have_hz: float, what: str) -> None:
    """Raise SpecMismatch where a dataset has another rate than is wanted."""
    if wanted_hz != have_hz:
        raise SpecMismatch(f"{what}, control_hz", wanted_hz, have_hz, _REMEDY)
