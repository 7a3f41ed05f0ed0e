"""Whether clouds may be moved sideways in training: only where state and action provably go along.

A scene moved by (dx, dy, 0) in the clouds' frame is another true sample when every position of
the state moves with it and every action stays what it is. Joint targets do not: an arm reaches the
moved scene with other angles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.dataset import Dataset
from ofp_edge.fields import Points, Rgb, State, Text
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.spec import ActionField, PolicySpec

_UNKNOWN = ("unknown", "")
_UNIT_NORM = 1e-3  # how far a quaternion's norm may be from 1


@dataclass(frozen=True)
class SceneShift:
    """columns: by observation field, where a position x, y, z in the clouds' frame starts, None
    where clouds may not be moved. reason: which fields move along, or which would not."""

    columns: tuple[tuple[int, ...], ...] | None
    reason: str

    def said(self, shift_m: float) -> str:
        """What training does, in a line, when it may move clouds by up to `shift_m`."""
        if self.columns is None:
            return f"clouds are not moved: {self.reason}"
        return f"clouds are moved sideways by up to {shift_m * 100:g} cm: {self.reason}"


def scene_shift(spec: PolicySpec, values: Mapping[str, NDArray[Any]]) -> SceneShift | None:
    """Decide it by the fields; None where there is no cloud.

    values: of the state fields, (T, D), by name: a rotation that is not named is known by its norm.
    """
    clouds = [f for f in spec.observations if isinstance(f, Points)]
    if not clouds:
        return None
    frames = sorted({f.frame for f in clouds})
    if len(frames) > 1:
        return SceneShift(None, f"they lie in {len(frames)} frames: {', '.join(frames)}")
    frame = frames[0]
    if frame in _UNKNOWN or any(f.unit != "m" for f in clouds):
        return SceneShift(None, f"they lie in {clouds[0].unit} in frame {frame!r}, expected metres "
                                "in a known one")  # fmt: skip
    columns, moved = [], []
    for field in spec.observations:
        at: tuple[int, ...] = ()
        if isinstance(field, State):
            along = _moves_along(field, frame, values[field.name])
            if along is None:
                return SceneShift(None, f"state {field.name!r} in {field.unit} (frame "
                                        f"{field.frame}) would not move along")  # fmt: skip
            at = along
            moved += [f"state {field.name!r}"] * bool(at)
        elif isinstance(field, Rgb):
            return SceneShift(None, f"image {field.name!r} would not move along")
        elif not isinstance(field, (Points, Text)):
            return SceneShift(None, f"{field.kind} {field.name!r} might not move along")
        columns.append(at)
    loose = [f.name for f in spec.observations if isinstance(f, State) and _is_loose(f)]
    if len(loose) > len(moved):
        return SceneShift(None, f"state {loose[-1]!r} in 1 may be a joint, which would not move "
                                "along")  # fmt: skip
    actions = _untouched(spec.actions)
    if actions is not None:
        return SceneShift(None, actions)
    return SceneShift(tuple(columns), f"{' and '.join(moved) or 'no state'} moves along, "
                                      "the actions are relative")  # fmt: skip


def with_shift(config: PolicyConfig, datasets: Sequence[Dataset]) -> PolicyConfig:
    """Record what is done to clouds: where they may not be moved in any dataset, shift_m is 0."""
    record = config.training
    found = [scene_shift(config.spec, x.fields) for x in datasets]
    shift = next((x for x in found if x is not None and x.columns is None), found[0])
    if shift is None:
        return config
    if shift.columns is None:
        record = replace(record, settings=replace(record.settings, shift_m=0.0))
    said = shift.said(record.settings.shift_m)
    return replace(config, training=replace(record, cloud_shift=said))


def shown_range(
    statistics: dict[str, FieldStatistics], config: PolicyConfig, datasets: Sequence[Dataset]
) -> dict[str, FieldStatistics]:
    """Widen the range of the positions that move along by how far training moves them."""
    shift, by = scene_shift(config.spec, datasets[0].fields), config.training.settings.shift_m
    if shift is None or shift.columns is None or not by:
        return statistics
    widened = dict(statistics)
    for field, columns in zip(config.spec.observations, shift.columns, strict=True):
        for start in columns:
            own = widened[field.name]
            most = np.zeros(len(own.low))
            most[start : start + 2] = by
            low, high = np.subtract(own.low, most), np.add(own.high, most)
            widened[field.name] = replace(own, low=tuple(low.tolist()), high=tuple(high.tolist()))
    return widened


def _is_loose(field: State) -> bool:
    """Whether it is one number without a unit: a gripper, where there is a hand as well."""
    return field.shape == (1,) and field.unit == "1" and field.frame not in _UNKNOWN


def _moves_along(field: State, frame: str, values: NDArray[Any]) -> tuple[int, ...] | None:
    """Where its position starts, () where moving the scene leaves it as it is, None where neither
    is proven."""
    if _is_loose(field):
        return ()
    if field.frame != frame or not field.is_position:
        return None
    units = [unit.strip() for unit in field.unit.split(",")]
    rest = (units if len(units) > 1 else units * field.shape[0])[3:]
    if set(rest) - {"1"}:  # "m" may be a position that would have to move, or a width
        return None
    if len(rest) >= 4 and _is_rotation(values[:, 3:7]):
        rest = rest[4:]
    return (0,) if len(rest) <= 1 else None  # one more is the gripper


def _is_rotation(values: NDArray[Any]) -> bool:
    norms = np.linalg.norm(values.astype(np.float64), axis=1)
    return bool(len(norms) and np.abs(norms - 1).max() < _UNIT_NORM)


def _untouched(actions: tuple[ActionField, ...]) -> str | None:
    """Which action would have to change with the scene; None where none has to."""
    moves = loose = 0
    last = ""
    for field in actions:
        why = f"action {field.name!r} in {field.unit} ({field.kind}, frame {field.frame})"
        relative = {"delta": "m", "velocity": "m/s"}.get(field.kind) == field.unit
        if field.frame in _UNKNOWN:
            return f"{why} would not move along"
        if relative:
            moves += 1
        elif field.shape == (1,) and field.unit == "1":
            loose, last = loose + 1, why
        elif field.rotation is None:
            return f"{why} would not move along"
    return f"{last} may be a joint, and would not move along" if loose > moves else None
