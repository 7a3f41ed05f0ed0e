"""What the motors' bus of a LeRobot robot says of its joints: their ranges, and their own ticks.

LeRobot cuts in silence: a normalised reading to -100..100 (a gripper's to 0..100), and a goal
likewise; a goal in degrees is cut by the servo to the calibrated range. Ticks are not cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ofp_edge.toml import LARGEST

_TURN_DEG = 360.0
_HAIR = 0.1  # some two ticks, because float32 goals are not exact


class LeRobotBus:
    """The `bus` of a robot with LeRobot's `motors`, `calibration` and `model_resolution_table`.

    `low`, `high` (n,) are the places that the actions of `names` can be told, in LeRobot's units;
    what is no motor of the bus has LARGEST. `tolerance_deg` is how far outside a joint may read.
    """

    def __init__(self, bus: Any, names: Sequence[str], tolerance_deg: float) -> None:
        self._bus, self._tolerance_deg = bus, tolerance_deg
        self._motors = {
            f"{motor}.pos": motor for motor in bus.motors if motor in (bus.calibration or {})
        }
        ends = [
            self._ends(self._motors[name]) if name in self._motors else (-LARGEST, LARGEST)
            for name in names
        ]
        self.low, self.high = np.array(ends, np.float64).T

    def read_outside(self) -> str:
        """Read the ticks of all motors; return which one is outside of its range, or nothing."""
        ticks = self._bus.sync_read("Present_Position", normalize=False)
        for motor in self._motors.values():
            said = self._bus.calibration[motor]
            beyond = max(said.range_min - ticks[motor], ticks[motor] - said.range_max)
            if why := self._judge(motor, beyond * _TURN_DEG / self._last_tick(motor)):
                return why
        return ""

    def outside(self, seen: Mapping[str, Any]) -> str:
        """Return which of the values in degrees is outside of its range, or nothing. Normalised
        values are cut, and say nothing."""
        for name, motor in self._motors.items():
            if name in seen and self._mode(motor) == "degrees":
                low, high = self._ends(motor)
                if why := self._judge(motor, max(low - seen[name], seen[name] - high)):
                    return why
        return ""

    def unreachable(self, goals: Mapping[str, float]) -> str:
        """Return which goal is no place that its joint can be told, or nothing."""
        for name in goals.keys() & self._motors.keys():
            low, high = self._ends(self._motors[name])
            if not low - _HAIR <= goals[name] <= high + _HAIR:
                return f"{name}: the goal {goals[name]:.4g} is outside of {low:.4g}..{high:.4g}"
        return ""

    def _judge(self, motor: str, beyond_deg: float) -> str:
        if beyond_deg <= self._tolerance_deg:
            return ""
        said = self._bus.calibration[motor]
        return (
            f"{motor} reads {beyond_deg:.1f} deg outside of its calibrated range "
            f"{said.range_min}..{said.range_max} (range_tolerance_deg = {self._tolerance_deg:g}). "
            "Move it into its range by hand, or calibrate it anew"
        )

    def _ends(self, motor: str) -> tuple[float, float]:
        mode, said = self._mode(motor), self._bus.calibration[motor]
        if mode == "degrees":
            half = (said.range_max - said.range_min) / 2 * _TURN_DEG / self._last_tick(motor)
            return -half, half
        return {"range_m100_100": (-100.0, 100.0), "range_0_100": (0.0, 100.0)}.get(
            mode, (-LARGEST, LARGEST)
        )

    def _mode(self, motor: str) -> str:
        mode = self._bus.motors[motor].norm_mode
        return str(getattr(mode, "value", mode))

    def _last_tick(self, motor: str) -> int:
        last: int = self._bus.model_resolution_table[self._bus.motors[motor].model] - 1
        return last


def bus_of(robot: Any, names: Sequence[str], tolerance_deg: float) -> LeRobotBus | None:
    """The robot's bus, or None where it has none of that form (another maker's arm, two arms)."""
    bus = getattr(robot, "bus", None)
    has = ("motors", "calibration", "model_resolution_table", "sync_read")
    if bus is None or not all(hasattr(bus, name) for name in has):
        return None
    return LeRobotBus(bus, names, tolerance_deg)
