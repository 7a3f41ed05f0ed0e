"""Servo ticks to joint units and back, from LeRobot's calibration file: the same numbers as in its
datasets, so that a policy trained on them drives the arm unchanged.

    degrees       (tick - middle of the range) * 360 / 4095; radians likewise
    normalised    -100 at range_min to 100 at range_max, the other way round where drive_mode is 1
    gripper       0 at range_min to 100 at range_max, in every unit
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError
from ofp_edge.files import read_json
from ofp_edge.strict import read_as

LAST_TICK = 4095
UNITS = ("deg", "rad", "normalised")


@dataclass(frozen=True)
class Joint:
    """One servo: value = (tick - zero) * scale. With `clipped`, readings stay within the range."""

    name: str
    servo: int
    homing_offset: int
    range_min: int
    range_max: int
    zero: float
    scale: float
    clipped: bool


def read_joints(path: Path, names: tuple[str, ...], gripper: str, unit: str) -> tuple[Joint, ...]:
    """Read the joints of `names` from LeRobot's calibration file (JSON). Raises RobotError that
    names what is wrong with it."""
    if unit not in UNITS:
        raise RobotError(f"unit {unit!r}: expected {', '.join(UNITS)}.")
    values = read_json(path, RobotError)
    if not isinstance(values, dict) or set(names) - set(values):
        have = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise RobotError(f"{path}: expected the joints {', '.join(names)}, got {have}.")
    said = {
        name: read_as(_Recorded, values[name], str(path), RobotError, name, others=True)
        for name in names
    }
    return tuple(_joint(path, name, said[name], name == gripper, unit) for name in names)


@dataclass(frozen=True)
class _Recorded:
    """A joint as LeRobot's file has it."""

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int


def _joint(path: Path, name: str, said: _Recorded, gripper: bool, unit: str) -> Joint:
    low, high, turned = said.range_min, said.range_max, bool(said.drive_mode)
    if not 0 <= low < high <= LAST_TICK:
        raise RobotError(
            f"{path}: {name}: expected 0 <= range_min < range_max <= {LAST_TICK}, "
            f"got {low} and {high}."
        )
    sign = -1.0 if turned else 1.0
    middle = (low + high) / 2
    if gripper:
        zero, scale = float(high if turned else low), sign * 100 / (high - low)
    elif unit == "normalised":
        zero, scale = middle, sign * 200 / (high - low)
    else:  # LeRobot's degrees know no drive_mode
        zero, scale = middle, (360.0 if unit == "deg" else 2 * math.pi) / LAST_TICK
    clipped = gripper or unit == "normalised"
    return Joint(name, said.id, said.homing_offset, low, high, zero, scale, clipped)


class JointUnits:
    """A converter of whole arrays, with one value for each joint, in the joints' order."""

    def __init__(self, joints: tuple[Joint, ...]) -> None:
        self._joints = joints
        self._zero = np.array([joint.zero for joint in joints])
        self._scale = np.array([joint.scale for joint in joints])
        self._low = np.array([joint.range_min for joint in joints], dtype=float)
        self._high = np.array([joint.range_max for joint in joints], dtype=float)
        ends = np.stack([(end - self._zero) * self._scale for end in (self._low, self._high)])
        self.least, self.most = ends.min(axis=0), ends.max(axis=0)
        clipped = np.array([joint.clipped for joint in joints])
        self._seen_low = np.where(clipped, self._low, -np.inf)
        self._seen_high = np.where(clipped, self._high, np.inf)

    def positions(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the joint values of ticks (n,)."""
        seen = np.clip(ticks, self._seen_low, self._seen_high)
        result: NDArray[np.float64] = (seen - self._zero) * self._scale
        return result

    def velocities(self, ticks_per_s: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return joint values a second."""
        result: NDArray[np.float64] = ticks_per_s * self._scale
        return result

    def within(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cut joint values to the calibrated range."""
        cut: NDArray[np.float64] = np.clip(values, self.least, self.most)
        return cut

    def outside(self, ticks: NDArray[np.int64], tolerance_deg: float) -> str:
        """Return which joint reads further outside of its calibrated range than that, or
        nothing. Ticks alone say it: joint values may be cut to the range."""
        beyond = np.maximum(self._low - ticks, ticks - self._high) * 360 / LAST_TICK
        worst = int(beyond.argmax())
        if beyond[worst] <= tolerance_deg:
            return ""
        joint = self._joints[worst]
        return (
            f"servo {joint.servo} ({joint.name}) reads {ticks[worst]}, {beyond[worst]:.1f} deg "
            f"outside of its calibrated range {joint.range_min}..{joint.range_max} "
            f"(range_tolerance_deg = {tolerance_deg:g})"
        )

    def unreachable(self, values: NDArray[np.float64]) -> str:
        """Return which joint value (n,) is no place of the calibrated range, or nothing. A tick
        is given away, because float32 values are not exact."""
        hair = np.abs(self._scale)
        out = (values < self.least - hair) | (values > self.most + hair)
        if not out.any():
            return ""
        n = int(out.argmax())
        return (
            f"{self._joints[n].name}: the goal {values[n]:.4g} is outside of its calibrated range "
            f"{self.least[n]:.4g}..{self.most[n]:.4g}"
        )

    def ticks(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the goal ticks of joint values (n,), never outside the calibrated range."""
        goals: NDArray[np.int64] = np.rint(self._zero + self.within(values) / self._scale).astype(
            np.int64
        )
        return goals
