"""A policy's actions as the messages that ros2_control's controllers take.

"trajectory"   JointTrajectory, the whole plan at each take-over (joint_trajectory_controller)
"point"        JointTrajectory with one point a tick, to be reached a control step later
"position"     Float64MultiArray of positions, "velocity" of velocities (forward controllers)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError
from ofp_edge.ros2.cdr import encode
from ofp_edge.ros2.messages import (
    Duration,
    Float64MultiArray,
    Header,
    JointTrajectory,
    JointTrajectoryPoint,
    Time,
)
from ofp_edge.runtime.ros2.joints import ros_units
from ofp_edge.spec import Interface, PolicySpec

COMMANDS = ("trajectory", "point", "position", "velocity")
_HAIR = 1e-6  # relative: what float32 makes of a limit

Floats = NDArray[np.float64]


def joint_range(
    spec: Interface, names: Sequence[str], low: Sequence[float], high: Sequence[float]
) -> tuple[Floats, Floats]:
    """Return each joint's range in ROS's units: the rig's, else the policy's absolute actions', and
    none of a robot that is only asked. Raises RobotError, one line."""
    if not all(_numbers(ends, len(names)) for ends in (low, high)) or len(low) != len(high):
        raise RobotError(f"low, high: expected {len(names)} numbers each, got {low!r}, {high!r}.")
    if len(low):
        ends = np.asarray(low, np.float64), np.asarray(high, np.float64)
    elif not spec.actions:
        return np.full(len(names), -np.inf), np.full(len(names), np.inf)
    elif all(field.kind == "absolute" for field in spec.actions):
        raw = [[x for f in spec.actions for x in getattr(f, end)] for end in ("low", "high")]
        per_raw = _per_raw(spec)
        ends = np.sort(np.asarray(raw, np.float64) * per_raw, axis=0)  # type: ignore[assignment]
    else:
        raise RobotError(
            "low, high: the range of each joint is needed (rad or m), as in the robot's URDF: the "
            "policy's actions are no places."
        )
    found_low, found_high = ends[0], ends[1]
    if not (np.isfinite(ends).all() and (found_low < found_high).all()):
        raise RobotError(
            f"low, high: expected low < high for each joint, got {found_low}, {found_high}."
        )
    return found_low, found_high


class Commands:
    """The maker of messages from actions (action_dim,), each of which moves one joint.

    A delta or a velocity adds up from where the robot was when `begin` was called, within the
    range; an absolute action outside of it is refused. stop_ms: in which time a trajectory's last
    point is to be reached.
    """

    def __init__(
        self,
        spec: PolicySpec,
        kind: str,
        names: Sequence[str],
        low: Floats,
        high: Floats,
        stop_ms: float,
    ) -> None:
        if kind not in COMMANDS:
            raise RobotError(f"command: expected one of {', '.join(COMMANDS)}, got {kind!r}.")
        if spec.action_dim != len(names):
            raise RobotError(
                f"joints: {len(names)} of them ({', '.join(names)}); the policy commands "
                f"{spec.action_dim}."
            )
        kinds = np.repeat([f.kind for f in spec.actions], [f.shape[0] for f in spec.actions])
        if kind == "velocity" and "absolute" in kinds:
            raise RobotError('command = "velocity": the policy\'s actions are places. Say another.')
        self.kind, self._names, self._dt_ns = kind, list(names), spec.dt_ns
        self.low, self.high = low, high
        self._absolute = kinds == "absolute"
        self._step = _per_raw(spec) * np.where(kinds == "velocity", spec.dt_s, 1.0)
        self._dt_s, self._stop_ns = spec.dt_s, round(stop_ms * 1e6)
        self.target: Floats | None = None

    @property
    def message(self) -> type[JointTrajectory] | type[Float64MultiArray]:
        """Return the type of its messages."""
        trajectory = self.kind in ("trajectory", "point")
        return JointTrajectory if trajectory else Float64MultiArray

    def begin(self, positions: Floats) -> None:
        """Note where the robot is before anything is sent."""
        if self.target is None:
            self.target = np.clip(positions, self.low, self.high)

    def take(self, action: NDArray[np.float32]) -> Floats:
        """Take a tick's command; return the places (or in "velocity" the speeds) that it means.
        RobotError, and nothing is taken, when it is none that can be followed."""
        if action.shape != self._step.shape or not np.isfinite(action).all():
            raise RobotError(f"ROS 2: expected {len(self._step)} finite numbers, got {action}.")
        self.target = self._followed(action, self._from())
        return self._speeds(action) if self.kind == "velocity" else self.target

    def places(self, coming: NDArray[np.float32]) -> list[Floats]:
        """Return the places of commands to come, after the one taken last."""
        found, at = [], self._from()
        for action in coming:
            at = self._followed(action, at)
            found.append(at)
        return found

    def now(self, values: Floats) -> bytes:
        """Return the message for one tick."""
        if self.kind in ("trajectory", "point"):
            return self.trajectory([values], 0, self._dt_ns)
        return encode(Float64MultiArray(data=values))

    def trajectory(self, places: Sequence[Floats], stamp_ns: int, first_ns: int) -> bytes:
        """Return the message for these places, a control step apart, the first of them `first_ns`
        after the stamp (ns of ROS time; 0: its arrival)."""
        points = [
            JointTrajectoryPoint(x, time_from_start=Duration.of(first_ns + i * self._dt_ns))
            for i, x in enumerate(places)
        ]
        header = Header(Time.of(stamp_ns)) if stamp_ns else Header()
        return encode(JointTrajectory(header, self._names, points))

    def rest(self, positions: Floats) -> bytes:
        """Return the message that brings the robot to rest at these places."""
        if self.kind == "velocity":
            return encode(Float64MultiArray(data=np.zeros(len(self._names))))
        if self.kind == "position":
            return encode(Float64MultiArray(data=positions))
        return self.trajectory([positions], 0, self._stop_ns)

    def _from(self) -> Floats:
        if self.target is None:
            raise RobotError("ROS 2: a command before the robot said where it is.")
        return self.target

    def _followed(self, action: NDArray[np.float32], at: Floats) -> Floats:
        moved = np.where(self._absolute, 0.0, at) + action * self._step
        slack = _HAIR * (1 + np.abs(moved))
        out = self._absolute & ((moved < self.low - slack) | (moved > self.high + slack))
        if out.any():
            i = int(np.flatnonzero(out)[0])
            raise RobotError(
                f"ROS 2: {self._names[i]}: a goal of {moved[i]:.4g}, outside of "
                f"{self.low[i]:.4g}..{self.high[i]:.4g}: nothing was sent."
            )
        within: Floats = np.clip(moved, self.low, self.high)
        return within

    def _speeds(self, action: NDArray[np.float32]) -> Floats:
        speeds: Floats = action * self._step / self._dt_s
        return speeds


class Follows:
    """Whether the robot moves when it is told to: a controller that is not active takes messages
    and does nothing. least: how far it must be told to go, after_ns: how long nothing may move."""

    def __init__(self, least: float, after_ns: int) -> None:
        self._least, self._after_ns = least, after_ns
        self._since: tuple[int, Floats, Floats] | None = None

    def trouble(self, t_ns: int, told: Floats, at: Floats) -> str:
        """Take in what the robot was told and where it is; return what is wrong, or nothing."""
        if not self._after_ns:
            return ""
        if self._since is None:
            self._since = t_ns, told, at
        since_ns, was_told, was_at = self._since
        asked, moved = np.abs(told - was_told), np.abs(at - was_at)
        if moved.max() > self._least / 10 or asked.max() <= self._least / 10:
            self._since = t_ns, told, at
        elif asked.max() > self._least and t_ns - since_ns > self._after_ns:
            i = int(asked.argmax())
            return (
                f"told to go {asked[i]:.3g} further within {(t_ns - since_ns) / 1e6:.0f} ms, and "
                f"moved {math.ceil(1e6 * moved[i]) / 1e6:g}: something is in its way, or its "
                "controller does not take commands"
            )
        return ""


def _numbers(values: object, count: int) -> bool:
    """Whether it is none, or so many numbers."""
    if not isinstance(values, (list, tuple)) or len(values) not in (0, count):
        return False
    return all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in values)


def _per_raw(spec: Interface) -> Floats:
    """ROS's units of a raw action, by dimension."""
    units = [ros_units(unit) for unit in spec.action_units]
    per_raw: Floats = np.asarray(spec.action_scale, np.float64) * units
    return per_raw
