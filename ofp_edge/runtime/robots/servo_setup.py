"""What is asked of an arm's servos, and written to them, before they move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError
from ofp_edge.runtime.robots import feetech
from ofp_edge.runtime.robots.feetech import ServoBus, signed
from ofp_edge.runtime.robots.joints import LAST_TICK, Joint


def look(bus: ServoBus, joints: tuple[Joint, ...]) -> NDArray[np.int64]:
    """Check that every servo is there and is the calibrated one; return the ticks that they read.
    Nothing is written."""
    for joint in joints:
        what = f"servo {joint.servo} ({joint.name})"
        if (model := bus.read(joint.servo, feetech.MODEL)) != feetech.STS3215:
            raise RobotError(f"{what}: expected model {feetech.STS3215} (STS3215), got {model}.")
        if (mode := bus.read(joint.servo, feetech.OPERATING_MODE)) != 0:
            raise RobotError(f"{what}: expected position mode (0), got {mode}. Set it up anew.")
        offset = signed(bus.read(joint.servo, feetech.HOMING_OFFSET), 11)
        if offset != joint.homing_offset:
            raise RobotError(
                f"{what}: homing offset: expected {joint.homing_offset} (calibration), got "
                f"{offset}. Is it another arm's calibration?"
            )
    here = [signed(bus.read(joint.servo, feetech.PRESENT_POSITION)) for joint in joints]
    return np.array(here, np.int64)


def hold_and_power(bus: ServoBus, here: NDArray[np.int64], acceleration: int) -> None:
    """Let every servo hold its place before it gets torque."""
    for servo, tick in zip(bus.names, np.clip(here, 0, LAST_TICK), strict=True):
        bus.write(servo, feetech.ACCELERATION, acceleration)
        bus.write(servo, feetech.GOAL_POSITION, int(tick))
        bus.write(servo, feetech.TORQUE_ENABLE, 1)
