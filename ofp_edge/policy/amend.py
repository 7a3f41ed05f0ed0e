"""State of a trained policy what a mapping could have stated: units, frames, ranges, cameras.

The network's weights, statistics and time rows stay: what would change what it computes is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.fields import State
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.spec import ActionField, ObservationField, PolicySpec

Field = TypeVar("Field", ObservationField, ActionField)
STATED = ("unit", "frame")
RANGE = ("low", "high")


@dataclass(frozen=True)
class Statement:
    """What is stated. fields: by field name, then by entry (unit, frame, low, high, and entries
    that must be the policy's own); cameras: by name; task: the name of a task."""

    fields: Mapping[str, Mapping[str, Any]]
    cameras: Mapping[str, CameraParameters]
    task: str | None = None


@dataclass(frozen=True)
class Change:
    """One entry that changed: where it stands (`action pick, unit`), and both values."""

    what: str
    before: Any
    after: Any


def amended(config: PolicyConfig, said: Statement, where: str) -> tuple[PolicyConfig, list[Change]]:
    """Return the configuration as stated, and what changed in it.

    Raises OfpError, one line that begins with `where`, for a field or camera that the policy has
    not, and for an entry that decides what the network computes and is another than the policy's.
    """
    spec = config.spec
    known = [*(f.name for f in spec.observations), *(f.name for f in spec.actions)]
    for name in said.fields:
        if name not in known:
            raise UnknownName(f"field of {where}", name, known)
    for name in said.cameras:
        if name not in config.cameras:
            raise UnknownName(f"camera of {where}", name, config.cameras)
    changes: list[Change] = []
    spec = PolicySpec.of(
        replace(
            spec.interface,
            observations=tuple(_field(f, "observation", said, where, changes)
                               for f in spec.observations),
            actions=tuple(_field(f, "action", said, where, changes) for f in spec.actions),
        ),
        spec.chunking,
    )  # fmt: skip
    cameras = dict(config.cameras)
    for name, camera in said.cameras.items():
        _camera(spec, name, cameras[name], camera, where)
        if camera != cameras[name]:
            changes.append(Change(f"camera {name}", cameras[name].to_json(), camera.to_json()))
        cameras[name] = camera
    task = config.task
    if said.task not in (None, task):
        changes.append(Change("task", task, said.task))
        task = said.task
    return replace(config, spec=spec, cameras=cameras, task=task), changes


def _field(field: Field, what: str, said: Statement, where: str, changes: list[Change]) -> Field:
    """The field as stated; changes: what changed is added."""
    new: dict[str, Any] = {}
    ranged = isinstance(field, (State, ActionField))
    for entry, value in said.fields.get(field.name, {}).items():
        if not hasattr(field, entry):
            raise OfpError(f"{where}: {what} {field.name!r} has no {entry}.")
        old = getattr(field, entry)
        if value == old:
            continue
        if entry not in STATED and not (entry in RANGE and ranged):
            raise OfpError(
                f"{where}: {what} {field.name!r}, {entry}: expected {old!r} as in training, got "
                f"{value!r}: it decides what the network computes. Train again, or leave it out."
            )
        if entry in RANGE and not (
            isinstance(value, (list, tuple)) and all(type(x) in (int, float) for x in value)
        ):
            raise OfpError(
                f"{where}: {what} {field.name!r}, {entry}: expected a list of numbers, got "
                f"{value!r}."
            )
        if entry in STATED and not (isinstance(value, str) and value and value.isprintable()):
            raise OfpError(f"{where}: {what} {field.name!r}, {entry}: expected a text.")
        new[entry] = value
        changes.append(Change(f"{what} {field.name}, {entry}", old, value))
    return replace(field, **new)


def _camera(
    spec: PolicySpec, name: str, old: CameraParameters, new: CameraParameters, where: str
) -> None:
    """OfpError where the new parameters make another picture of what was trained on."""
    if (old.width, old.height) != (new.width, new.height):
        raise OfpError(
            f"{where}: [camera.{name}]: expected {old.width} x {old.height} as in training, got "
            f"{new.width} x {new.height}."
        )
    if old.known and not spec.only_images(name) and old != new:
        raise OfpError(
            f"{where}: [camera.{name}]: its points were made by the parameters stated in training. "
            "Train again with others."
        )
