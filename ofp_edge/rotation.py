"""Rotations in the forms that actions use, and blends between them along the shorter arc.

quaternion   (4,) x, y, z, w, unit length     rotvec   (3,) axis times angle, radians
rot6d        (6,) the first two columns of the matrix, one after the other (Zhou et al. 2019)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.pose import make_pose, quaternion
from ofp_edge.spec import Rotation

Array = NDArray[np.float64]


def blend_rotation(
    form: Rotation, old: NDArray[np.float32], new: NDArray[np.float32], share: float,
    scale: float = 1.0,
) -> NDArray[np.float32]:  # fmt: skip
    """Turn `old` towards `new` by `share` (0..1) of the way, in the same form (D,) float32.

    scale: a raw value times it is in the form's own unit (only a rotvec's is not 1).
    """
    a, b = (to_quaternion(form, x.astype(np.float64) * scale) for x in (old, new))
    return (from_quaternion(form, slerp(a, b, share)) / scale).astype(np.float32)


def slerp(a: Array, b: Array, share: float) -> Array:
    """Interpolate between two unit quaternions x, y, z, w, along the shorter arc."""
    cosine = float(a @ b)
    if cosine < 0:
        b, cosine = -b, -cosine
    if cosine > 1 - 1e-9:
        mixed = a + share * (b - a)
    else:
        angle = np.arccos(cosine)
        mixed = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    return np.asarray(mixed / np.linalg.norm(mixed))


def to_quaternion(form: Rotation, value: Array) -> Array:
    """Return the unit quaternion (4,) x, y, z, w."""
    if form == "rotvec":
        angle = float(np.linalg.norm(value))
        half = np.sinc(angle / 2 / np.pi) / 2  # sin(angle / 2) / angle, also at 0
        return np.array([*(value * half), np.cos(angle / 2)])
    if form == "quaternion":
        norm = float(np.linalg.norm(value))
        return value / norm if norm > 0 else np.array([0.0, 0.0, 0.0, 1.0])
    first = value[:3] / max(float(np.linalg.norm(value[:3])), 1e-12)
    second = value[3:] - (first @ value[3:]) * first
    second = second / max(float(np.linalg.norm(second)), 1e-12)
    matrix = np.stack([first, second, np.cross(first, second)], axis=1)
    return np.asarray(quaternion(make_pose(matrix, (0, 0, 0))))


def from_quaternion(form: Rotation, turn: Array) -> Array:
    """Invert `to_quaternion`; the angle of a rotvec is in 0..pi."""
    x, y, z, w = turn
    if form == "quaternion":
        return turn
    if form == "rotvec":
        if w < 0:
            x, y, z, w = -x, -y, -z, -w
        sine = float(np.sqrt(x * x + y * y + z * z))
        angle = 2 * np.arctan2(sine, w)
        return np.array([x, y, z]) * (angle / sine if sine > 1e-12 else 2.0)
    return np.array(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y + z * w),
            2 * (x * z - y * w),
            2 * (x * y - z * w),
            1 - 2 * (x * x + z * z),
            2 * (y * z + x * w),
        ]
    )


def angles_between(form: Rotation, a: Array, b: Array) -> Array:
    """Return the angles (...) in radians, 0..pi, between rotations (..., D) in the form's own unit;
    a quaternion and its negative are one rotation."""
    away = np.linalg.norm(_matrices(form, a) - _matrices(form, b), axis=(-2, -1))
    return np.asarray(2 * np.arcsin(np.clip(away / np.sqrt(8), 0, 1)))


def _matrices(form: Rotation, values: Array) -> Array:
    """(..., 3, 3) of (..., D)."""
    if form == "rot6d":
        first = _unit(values[..., :3])
        second = values[..., 3:]
        second = _unit(second - (first * second).sum(-1, keepdims=True) * first)
        return np.stack([first, second, np.cross(first, second)], axis=-1)
    if form == "rotvec":
        angle = np.linalg.norm(values, axis=-1, keepdims=True)
        half = np.sinc(angle / 2 / np.pi) / 2
        values = np.concatenate([values * half, np.cos(angle / 2)], axis=-1)
    x, y, z, w = np.moveaxis(_unit(values), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _unit(values: Array) -> Array:
    """Of length 1, along the last axis; of nothing, what stays nothing."""
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-12))
