"""`driver = "ros2"` of a rig's [robot]: a robot of ros2_control in a process of its own.

    [robot]
    driver = "ros2"
    [robot.options]
    joints = ["shoulder_pan", "shoulder_lift", "elbow"]     # in the order of the policy's actions
    command = "trajectory"                                  # or point, position, velocity
    command_topic = "/arm_controller/joint_trajectory"

docs/ros2.md has all options. The network never meets the control thread: RemoteRobot's process
(robots/host.py) holds the wire, and stops the robot when this process is gone.
"""

from __future__ import annotations

import sys
from typing import Any

from ofp_edge.runtime.robots.remote import RemoteRobot
from ofp_edge.spec import Interface

_ROBOT = "ofp_edge.runtime.ros2.robot:Ros2Joints"
_LATER_MS = 100.0  # so that the line of the one who knows why comes first
_MORE_S = 20.0  # than the robot itself waits for its topics: a process comes up


class Ros2Robot(RemoteRobot):
    """The robot; see Ros2Joints, whose options these are. python: an environment with the extra
    `ros2`, by default this one."""

    def __init__(
        self, spec: Interface, *, python: str = sys.executable, state_hz: float | None = None,
        start_s: float = 10.0, max_age_ms: float | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            spec,
            robot=_ROBOT,
            options={**options, "start_s": start_s, "max_age_ms": max_age_ms},
            python=python,
            state_hz=state_hz,
            max_age_ms=None if max_age_ms is None else max_age_ms + _LATER_MS,
            start_s=start_s + _MORE_S,
        )
        self.joint_names = options.get("joints")
        self.foresees = options.get("command", "trajectory") == "trajectory"
