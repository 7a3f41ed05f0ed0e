"""What an action's error is measured in: each dimension in its unit, a rotation by its angle, and a
gripper by whether it does the same.

    difference   |predicted - recorded| * scale, in the field's unit
    angle        between the two rotations, rad: a field with a `rotation`, as one
    agreement    0 where the nearest recorded level is the same one, else 1: of a field that
                 interpolates "nearest" with few levels, and of every dimension that takes only two
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.dataset import Dataset
from ofp_edge.rotation import angles_between
from ofp_edge.spec import ActionField, PolicySpec, Rotation

Array = NDArray[np.float64]
Measure = Literal["difference", "angle", "agreement"]
_MOST_LEVELS = 10
_NO_SPREAD = 1e-9


@dataclass(frozen=True, eq=False)
class Quantity:
    """One row of the report. columns: of the action vector. factor: from raw values to `unit`.
    levels: the recorded values, raw, of measure "agreement". spread: RMS of the recorded actions'
    own distance from their mean, in `unit`; None where there is none, and of an agreement."""

    name: str
    field: str
    unit: str
    measure: Measure
    columns: slice
    factor: float = 1.0
    rotation: Rotation | None = None
    levels: tuple[float, ...] = ()
    spread: float | None = None

    def errors(self, predicted: NDArray[np.float32], recorded: NDArray[np.float32]) -> Array:
        """Return (...) of raw actions (..., A) that broadcast against each other."""
        a = predicted[..., self.columns].astype(np.float64)
        b = recorded[..., self.columns].astype(np.float64)
        if self.rotation is not None:
            return angles_between(self.rotation, a * self.factor, b * self.factor)
        if self.measure == "agreement":
            return np.asarray(self._level(a) != self._level(b), np.float64)[..., 0]
        return np.asarray(np.abs(a - b) * abs(self.factor))[..., 0]

    def _level(self, values: Array) -> NDArray[np.int64]:
        away = np.abs(values[..., None] - np.asarray(self.levels))
        return np.asarray(away.argmin(-1), np.int64)


def quantities_of(
    spec: PolicySpec, dataset: Dataset, action: NDArray[np.float32]
) -> list[Quantity]:
    """Return the rows of a policy's actions. action: (T, A) all recorded ones, in its order."""
    found, start = [], 0
    for field in spec.actions:
        end = start + field.shape[0]
        if field.rotation is not None:
            parts = [
                Quantity(
                    field.name, field.name, "rad", "angle", slice(start, end),
                    field.scale if field.rotation == "rotvec" else 1.0, field.rotation,
                )
            ]  # fmt: skip
        else:
            names = dataset.names.get(field.name) or _numbered(field)
            units = _units(field)
            parts = [
                _of_dimension(field, names[i], units[i], start + i, action)
                for i in range(field.shape[0])
            ]
        found += [_with_spread(part, action) for part in parts]
        start = end
    return found


def _numbered(field: ActionField) -> tuple[str, ...]:
    if field.shape == (1,):
        return (field.name,)
    return tuple(f"{field.name}[{i}]" for i in range(field.shape[0]))


def _units(field: ActionField) -> tuple[str, ...]:
    units = tuple(part.strip() for part in field.unit.split(","))
    return units if len(units) == field.shape[0] else (field.unit,) * field.shape[0]


def _of_dimension(
    field: ActionField, name: str, unit: str, column: int, action: NDArray[np.float32]
) -> Quantity:
    levels = tuple(np.unique(action[:, column]).tolist())
    most = _MOST_LEVELS if field.interpolation == "nearest" else 2
    columns = slice(column, column + 1)
    if 2 <= len(levels) <= most:
        return Quantity(name, field.name, unit, "agreement", columns, levels=levels)
    return Quantity(name, field.name, unit, "difference", columns, field.scale)


def _with_spread(part: Quantity, action: NDArray[np.float32]) -> Quantity:
    if part.measure == "agreement":
        return part
    away = part.errors(action, mean_action([part], action))
    spread = float(np.sqrt(np.mean(away**2)))
    return Quantity(
        part.name, part.field, part.unit, part.measure, part.columns, part.factor, part.rotation,
        spread=spread if spread > _NO_SPREAD else None,
    )  # fmt: skip


def mean_action(rows: list[Quantity], action: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean (A,) of recorded actions (T, A); of an agreement the commonest level. A
    quaternion's sign is first made that of the first action."""
    mean = action.mean(axis=0, dtype=np.float64)
    for row in rows:
        values = action[:, row.columns].astype(np.float64)
        if row.rotation == "quaternion":
            signs = np.where(values @ values[0] < 0, -1.0, 1.0)
            mean[row.columns] = (values * signs[:, None]).mean(axis=0)
        elif row.measure == "agreement":
            levels, counts = np.unique(values, return_counts=True)
            mean[row.columns] = levels[counts.argmax()]
    return np.asarray(mean, np.float32)
