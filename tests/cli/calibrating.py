"""A camera and a robot for `calibrate record`: rendered pictures, and the hand that belongs there.

Both classes take what they show from `SCENE`, which a test fills.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.pose import Pose, quaternion
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.robot import RobotState
from ofp_edge.spec import PolicySpec
from tests.calibration.rendered import LENS, UNIT_M


@dataclass
class Scene:
    """`at`: which picture and hand are shown now. restless: the hand goes on with every look."""

    pictures: list[Any] = field(default_factory=list)
    hands: list[Pose] = field(default_factory=list)
    at: int = 0
    restless: bool = False


SCENE = Scene()


class StandInCamera:
    """Delivers the scene's picture."""

    def __init__(self, name: str, clock: Any, parameters: dict[str, Any]) -> None:
        rows = tuple(tuple(float(x) for x in row) for row in parameters["T_base_camera"])
        self.parameters = CameraParameters(
            LENS.width, LENS.height, LENS.fx, LENS.fy, LENS.cx, LENS.cy, UNIT_M, "base", rows
        )
        self._number = 0

    def start(self) -> None:
        pass

    def read(self, timeout_ms: float) -> Frame | None:
        if timeout_ms == 0:
            return None
        self._number += 1
        color, depth = SCENE.pictures[SCENE.at]
        return Frame(depth, color, self._number, self._number)

    def close(self) -> None:
        pass


class StandInRobot:
    """Tells the scene's hand. known: under which name."""

    def __init__(self, spec: PolicySpec, *, known: str = "hand_pose") -> None:
        self._known = known

    def state(self) -> RobotState:
        T = SCENE.hands[SCENE.at]
        if SCENE.restless:
            T = T.copy()
            T[0, 3] += np.random.default_rng().uniform(0.01, 0.5)
        value = np.array([*T[:3, 3], *quaternion(T)], dtype=np.float32)
        return RobotState(0, {self._known: value})

    def send(self, action: Any) -> None:
        raise AssertionError("a robot is never moved by a calibration")

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass
