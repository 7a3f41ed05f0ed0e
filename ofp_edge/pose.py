"""Check poses (4 x 4 matrices), split them into position and quaternion, and compare them.

T_a_b takes a point in frame b into frame a; metres. Quaternions are (x, y, z, w).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch

Pose = NDArray[np.float64]


def checked_pose(value: Any, what: str) -> Pose:
    """Return (4, 4) float64 from rows of numbers. SpecMismatch unless it is a rigid motion."""
    try:
        pose = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape != (4, 4):
        raise SpecMismatch(what, "4 rows of 4 numbers", pose.shape if pose.size else repr(value))
    if not np.isfinite(pose).all() or pose[3].tolist() != [0, 0, 0, 1]:
        raise SpecMismatch(what, "finite numbers, last row 0 0 0 1", pose.tolist())
    rotation = pose[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
        raise SpecMismatch(f"{what}, rotation", "an orthonormal matrix", rotation.tolist())
    if np.linalg.det(rotation) < 0:
        raise SpecMismatch(f"{what}, rotation", "a rotation", f"a mirror: {rotation.tolist()}")
    return pose


def make_pose(rotation: Any, position_m: Any) -> Pose:
    """Build a pose (4, 4) from a rotation (3, 3) and a position of three numbers."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, np.asarray(position_m, dtype=np.float64).reshape(3)
    return pose


def from_quaternion(position_m: Any, xyzw: Any) -> Pose:
    """Build a pose (4, 4) from a position and a unit quaternion (x, y, z, w)."""
    x, y, z, w = np.asarray(xyzw, dtype=np.float64) / np.linalg.norm(xyzw)
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return make_pose(rotation, position_m)


def quaternion(pose: Pose) -> list[float]:
    """Return the rotation as a unit quaternion (x, y, z, w), w not negative."""
    r = pose[:3, :3]
    # The eigenvector of the largest eigenvalue (Bar-Itzhack 2000): sound at every angle.
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
            [r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1], 0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], np.trace(r)],
        ]
    )
    q = np.linalg.eigh(k)[1][:, -1]
    return [float(x) for x in (q if q[3] >= 0 else -q)]


def rotation_vector(rotation: NDArray[Any]) -> NDArray[np.float64]:
    """Return axis times angle (rad, 0..pi) of a rotation (3, 3)."""
    x, y, z, w = quaternion(make_pose(rotation, (0, 0, 0)))
    length = math.sqrt(x * x + y * y + z * z)
    scale = 2 * math.atan2(length, w) / length if length > 0 else 2.0
    return np.array([x, y, z]) * scale


def nearest_rotation(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rotation (3, 3) closest to a matrix: given a sum of rotations, their mean."""
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v)


def mean_pose(poses: NDArray[Any]) -> Pose:
    """Return the pose of mean position and mean rotation of (n, 4, 4)."""
    return make_pose(nearest_rotation(poses[:, :3, :3].sum(axis=0)), poses[:, :3, 3].mean(axis=0))


def distance(a: Pose, b: Pose) -> tuple[float, float]:
    """Return how far apart two poses are: millimetres between origins, degrees of rotation."""
    millimetres = 1000 * float(np.linalg.norm(a[:3, 3] - b[:3, 3]))
    turn = rotation_vector(a[:3, :3].T @ b[:3, :3])
    return millimetres, math.degrees(float(np.linalg.norm(turn)))


def rows(pose: Pose) -> list[list[float]]:
    """Return plain rows, as JSON and TOML hold them; -0 becomes 0."""
    return [[float(x) + 0.0 for x in row] for row in pose]
