"""The SO-101 arm: six servos on one serial bus, read and written by a thread of its own.

    control thread          | newest goal ->  |  bus thread
    state(), send(), stop() | <- newest state |  write goals, read all servos, every half period

Neither side ever waits for the other: a goal and a state are handed over by one assignment, and an
eventfd wakes the bus. In a rig:

    [robot]
    driver = "ofp_edge.runtime.robots.so101:So101"
    [robot.options]
    port = "/dev/ttyACM0"
    calibration = "so101.json"      # LeRobot's calibration file of this arm
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.robots import feetech
from ofp_edge.runtime.robots.feetech import ServoBus
from ofp_edge.runtime.robots.joints import LAST_TICK, JointUnits, read_joints
from ofp_edge.runtime.robots.servo_setup import hold_and_power, look
from ofp_edge.spec import PolicySpec

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
_SETUP_PATIENCE_MS, _CLOSE_S = 500.0, 5.0
_LAST_WRITES = 3  # attempts to write the stop while closing


class _Reading(NamedTuple):
    t_ns: int
    ticks: NDArray[np.int64]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]


class So101:
    """The arm; see `ofp_edge.runtime.robot.Robot`.

    `port` is the serial device. `calibration` is LeRobot's file of this arm; another arm's is
    refused. `unit` is that of the five joints ("deg", "rad", "normalised": see joints.py), where
    the policy's actions do not say it; the gripper is 0..100. `velocity_fields` are the policy's
    state fields of shape (6,) that are velocities (unit a second); other (6,) fields are positions,
    (12,) fields are both. `acceleration` is the servos' own ramp, 1..254, in 100 ticks/s^2; 0 means
    none. `timeout_ms` is how much longer than its bytes an answer may take, by default a quarter of
    the period. A state older than `max_age_ms`, by default five periods, raises RobotError. A joint
    that reads more than `range_tolerance_deg` outside of its calibrated range is refused before
    anything gets torque, and ends a run: its encoder wrapped, or its homing is another one. With
    `torque_off` the arm goes limp when it is closed; otherwise it holds its place until its power
    is cut.
    """

    joint_names = JOINTS

    def __init__(
        self,
        spec: PolicySpec,
        *,
        port: str,
        calibration: str,
        unit: str = "",
        velocity_fields: tuple[str, ...] = (),
        baudrate: int = 1_000_000,
        acceleration: int = 254,
        timeout_ms: float | None = None,
        max_age_ms: float | None = None,
        range_tolerance_deg: float = 5.0,
        torque_off: bool = False,
    ) -> None:
        if not 0 <= range_tolerance_deg < math.inf:
            raise RobotError(
                f"SO-101: range_tolerance_deg: expected 0 or more, got {range_tolerance_deg!r}."
            )
        self._closed = self._stopped = False
        self._fields = _state_fields(spec, velocity_fields)
        kinds = [(f.kind, f.scale) for f in spec.actions for _ in range(f.shape[0])]
        self._absolute = np.array([kind == "absolute" for kind, _ in kinds])
        self._step = np.array(
            [scale * (spec.dt_s if kind == "velocity" else 1.0) for kind, scale in kinds]
        )
        joints = read_joints(Path(calibration), JOINTS, "gripper", unit or _unit(spec))
        self._units, self._tolerance_deg = JointUnits(joints), range_tolerance_deg
        self.goal_range = self._units.least, self._units.most
        self._fault = ""
        period_ms = 1000 * spec.dt_s
        self._poll_ns = spec.dt_ns // 2
        self._max_age_ns = round(1e6 * (5 * period_ms if max_age_ms is None else max_age_ms))
        names = {joint.servo: joint.name for joint in joints}
        patience_ms = period_ms / 4 if timeout_ms is None else timeout_ms
        self._bus = ServoBus(port, baudrate, names, _SETUP_PATIENCE_MS)
        try:
            here = look(self._bus, joints)
            if fault := self._units.outside(here, range_tolerance_deg):
                raise RobotError(
                    f"{fault}. Move it into its range by hand and start again; if it already is, "
                    "calibrate it anew: its encoder wrapped, or its homing changed."
                )
            hold_and_power(self._bus, here, acceleration)
            self._reading = self._read()
            self._bus.set_patience(patience_ms)
        except BaseException:
            self._bus.close()
            raise
        self._torque_off = torque_off
        self._trouble = ""
        self._dead = self._holds = False
        self.failed_reads = 0
        self._target = self._reading.positions
        self._goal: NDArray[np.int64] | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, name="servo bus", daemon=True)
        self._thread.start()

    @staticmethod
    def check(
        spec: PolicySpec, *, calibration: str, unit: str = "",
        velocity_fields: tuple[str, ...] = (), **others: Any,
    ) -> None:  # fmt: skip
        """Raise RobotError where policy, unit and calibration file do not fit; opens nothing."""
        _state_fields(spec, velocity_fields)
        read_joints(Path(calibration), JOINTS, "gripper", unit or _unit(spec))

    def state(self) -> RobotState:
        """Return the newest positions and velocities that the bus delivered; never wait for
        it."""
        t_ns, _, positions, velocities = self._reading
        if self._fault:
            raise RobotError(f"SO-101: {self._fault}. Its homing changed, or it was pushed there.")
        age_ns = time.monotonic_ns() - t_ns
        if self._dead or age_ns > self._max_age_ns:
            raise RobotError(
                f"SO-101: no state for {age_ns / 1e6:.0f} ms, limit {self._max_age_ns / 1e6:g} ms: "
                f"{self._trouble or 'the bus thread was not run'}"
            )
        seen = {
            "position": positions,
            "velocity": velocities,
            "both": np.concatenate([positions, velocities]),
        }
        values = {name: seen[what].astype(np.float32) for name, what in self._fields.items()}
        return RobotState(t_ns, values)

    def send(self, action: NDArray[np.float32]) -> None:
        """Set new goals; the bus thread writes them at once. Raises RobotError for an absolute
        goal outside of the calibrated range, and then sends nothing."""
        if self._stopped:
            return
        if action.shape != self._step.shape or not np.isfinite(action).all():
            raise RobotError(f"SO-101: expected {len(self._step)} finite numbers, got {action}.")
        moved = np.where(self._absolute, 0.0, self._target) + action * self._step
        told = np.where(self._absolute, moved, self._units.within(moved))
        if why := self._units.unreachable(told):
            raise RobotError(f"SO-101: {why}: nothing was sent.")
        self._target = self._units.within(moved)  # a delta beyond a limit starts from the limit
        self._goal = self._units.ticks(self._target)
        self._ring()

    def stop(self) -> None:
        """Hold the place that was read last. Idempotent."""
        if not self._stopped:
            self._stopped = True
            # Its own ticks: what was cut to the range would be another place.
            self._goal = np.clip(self._reading.ticks, 0, LAST_TICK)
            self._ring()

    def close(self) -> None:
        """Stop, write what is to be written, and release the port. Raises RobotError when a
        servo does not answer that it has its place as its goal. Idempotent."""
        if self._closed:
            return
        self.stop()
        self._closed = True
        self._ring()
        self._thread.join(timeout=_CLOSE_S)
        if self._thread.is_alive():  # the port hangs in the kernel: what it uses stays open
            raise RobotError(f"SO-101: the bus hangs, the stop is not written: {self._trouble}")
        try:
            self._confirm()
            with contextlib.suppress(RobotError, OSError):
                if self._torque_off:
                    for servo in self._bus.names:
                        self._bus.write(servo, feetech.TORQUE_ENABLE, 0)
        finally:
            self._bus.close()
            os.close(self._wake)

    def _confirm(self) -> None:
        """Ask every servo for its goal, because the goals went out in a packet that nobody
        acknowledges."""
        if not self._holds or self._goal is None:
            raise RobotError(f"SO-101: the stop could not be written: {self._trouble}")
        for (servo, name), goal in zip(self._bus.names.items(), self._goal, strict=True):
            try:
                has = self._read_goal(servo)
            except OSError as cause:
                raise RobotError(f"SO-101: {cause}. Check the USB cable.") from None
            if has != goal:
                raise RobotError(
                    f"servo {servo} ({name}): its goal is {has}, not the {goal} of the stop."
                )

    def _read_goal(self, servo: int) -> int:
        with contextlib.suppress(RobotError):  # one lost answer is none
            return self._bus.read(servo, feetech.GOAL_POSITION, faulty=True)
        return self._bus.read(servo, feetech.GOAL_POSITION, faulty=True)

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake, 1)

    def _read(self) -> _Reading:
        before_ns = time.monotonic_ns()
        ticks, ticks_per_s = self._bus.read_state()
        t_ns = (before_ns + time.monotonic_ns()) // 2
        self._fault = self._fault or self._units.outside(ticks, self._tolerance_deg)
        velocities = self._units.velocities(ticks_per_s)
        return _Reading(t_ns, ticks, self._units.positions(ticks), velocities)

    def _serve(self) -> None:
        written: NDArray[np.int64] | None = None
        due_ns = time.monotonic_ns()
        left_writes = _LAST_WRITES
        while True:
            goal = self._goal
            try:
                if goal is not None and goal is not written:
                    self._bus.write_goals(goal)
                    written = goal
                if self._closed:
                    self._holds = True
                    return
                if time.monotonic_ns() >= due_ns:
                    due_ns = time.monotonic_ns() + self._poll_ns
                    self._reading = self._read()
                    self._trouble = ""
            except RobotError as cause:  # one lost answer is none; the state's age decides
                self._trouble = str(cause)
                self.failed_reads += 1
                if self._closed and written is not self._goal:
                    left_writes -= 1
                    if left_writes == 0:
                        return
            except OSError as cause:  # a pulled cable
                self._trouble, self._dead = f"{cause}. Check the USB cable.", True
                return
            left_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
            if select.select([self._wake], [], [], left_s)[0]:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)


def _unit(spec: PolicySpec) -> str:
    text = spec.actions[0].unit
    for prefix, unit in (("deg", "deg"), ("rad", "rad")):
        if text.startswith(prefix):
            return unit
    raise RobotError(
        f"SO-101: the policy's actions are in {text!r}: set unit in [robot.options] "
        "to deg, rad or normalised."
    )


def _state_fields(spec: PolicySpec, velocity_fields: tuple[str, ...]) -> dict[str, str]:
    if spec.action_dim != len(JOINTS):
        raise RobotError(
            f"SO-101 moves {len(JOINTS)} joints; the policy commands {spec.action_dim}."
        )
    fields = {}
    for item in spec.states:
        if item.shape not in ((6,), (12,)):
            raise RobotError(
                f"SO-101: state field {item.name!r}: expected shape (6,) or (12,), "
                f"got {item.shape}."
            )
        both = item.shape == (12,)
        fields[item.name] = (
            "both" if both else "velocity" if item.name in velocity_fields else "position"
        )
    if unknown := set(velocity_fields) - set(fields):
        raise RobotError(
            f"SO-101: velocity_fields: the policy has no {sorted(unknown)}; "
            f"it has {sorted(fields)}."
        )
    return fields
