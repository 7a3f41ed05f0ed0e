"""Which number of the action is moved, and which number of the state says where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError, RigError
from ofp_edge.rig.safety import SafetyEntry
from ofp_edge.spec import ActionField, PolicySpec


@dataclass(frozen=True)
class Joint:
    """One number of the action vector. field: its action field; place: of the field's numbers;
    index: of the vector's. measured, measured_index: the state field that says where it is, in the
    field's unit. homes: per absolute action number, the state number that is its place."""

    field: ActionField
    place: int
    index: int
    measured: str
    measured_index: int
    homes: dict[int, tuple[str, int, float]]
    holds: dict[int, float]

    def stay(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return the raw action (action_dim,) that keeps the robot where these states say."""
        found = np.zeros(len(self.homes) + len(self.holds))
        for index, (name, number, scale) in self.homes.items():
            found[index] = float(arrays[name].reshape(-1)[number]) / scale
        for index, hold in self.holds.items():
            found[index] = hold
        return found

    def raw_of(self, places: NDArray[np.float64], dt_s: float) -> NDArray[np.float64]:
        """Return what is added to each step's raw action by a way (n + 1,), in the field's unit, n
        steps."""
        if self.field.kind == "absolute":
            return places[:-1] / self.field.scale
        moved = np.diff(places) / self.field.scale
        return moved if self.field.kind == "delta" else moved / dt_s

    def place_of(self, raw: NDArray[np.float64], dt_s: float) -> NDArray[np.float64]:
        """Return the places that raw actions (n,), one after another, command, in the unit."""
        if self.field.kind == "absolute":
            return raw * self.field.scale
        hold = float(self.field.hold or 0.0)
        moved = np.cumsum(raw - hold) * self.field.scale
        return moved if self.field.kind == "delta" else moved * dt_s


def joint_of(spec: PolicySpec, safety: SafetyEntry, index: int) -> Joint:
    """Return a number of the action vector, from 0. What says where each field is, is `measured` of
    its limits, else the only state that has as many numbers as the action. OfpError, one line."""
    if not 0 <= index < spec.action_dim:
        raise OfpError(f"--joint {index}: expected 0..{spec.action_dim - 1}.")
    homes: dict[int, tuple[str, int, float]] = {}
    holds: dict[int, float] = {}
    start, found = 0, None
    for field in spec.actions:
        moves = start <= index < start + field.shape[0]
        if moves or field.hold is None:
            name, first = _measured(spec, safety, field, start)
        for number in range(field.shape[0]):
            if field.hold is None:
                homes[start + number] = name, first + number, field.scale
            else:
                holds[start + number] = float(field.hold)
        if moves:
            number = index - start
            found = field, number, index, name, first + number
        start += field.shape[0]
    if found is None:
        raise RuntimeError("no action field holds the joint")
    if found[0].rotation in ("quaternion", "rot6d") or found[0].interpolation == "nearest":
        raise OfpError(
            f"--joint {index}: {found[0].name} can't be moved a little, number by number."
        )
    return Joint(*found, homes, holds)


def _measured(
    spec: PolicySpec, safety: SafetyEntry, field: ActionField, start: int
) -> tuple[str, int]:
    limits = safety.limits_of(field)
    if limits.measured is not None:
        return limits.measured, limits.measured_offset
    alike = [state for state in spec.states if state.shape[0] == spec.action_dim]
    if len(alike) == 1:
        return alike[0].name, start
    raise RigError(
        f"[safety.limits.{field.name}] measured: expected, as nothing else says where "
        f"{field.name} is: one of {sorted(state.name for state in spec.states)}."
    )
