"""The drivers of robots and cameras that come with ofp-edge: what `robots` and `cameras` list.

A driver of a rig is a line here; its options are those of its class or function, which is asked.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

_GIVEN = ("spec", "self", "name", "clock", "parameters")
_TESTS = (
    "clock",
    "context",
    "opened",
    "channel",
    "wire",
    "now",
    "ahead",
)  # where a test puts something else


@dataclass(frozen=True)
class Driver:
    """driver: as the rig names it. factory: "module:name" of what it builds; "" for one that is the
    user's. module: what it imports, of `extra`; "" where it needs nothing. note: what else."""

    driver: str
    what: str
    factory: str
    extra: str = ""
    module: str = ""
    note: str = ""

    def installed(self) -> bool:
        """Return whether what it imports is here, without importing it."""
        try:
            return not self.module or util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

    def options(self) -> dict[str, Any]:
        """Return its options by name with their defaults; "required" where it has none."""
        if not self.factory:
            return {}
        where, _, name = self.factory.partition(":")
        found = getattr(importlib.import_module(where), name)
        return {
            key: "required" if x.default is x.empty else x.default
            for key, x in inspect.signature(found).parameters.items()
            if key not in _GIVEN and key not in _TESTS and x.kind is not x.VAR_KEYWORD
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "driver": self.driver,
            "what": self.what,
            "extra": self.extra or None,
            "installed": self.installed(),
            "options": {key: _plain(value) for key, value in self.options().items()},
            "note": self.note,
        }


ROBOTS = (
    Driver(
        "ofp_edge.runtime.robots.so101:So101",
        "SO-101 arm",
        "ofp_edge.runtime.robots.so101:So101",
        "so101",
        "scservo_sdk",
        "calibration: LeRobot's file of this arm",
    ),
    Driver(
        "ofp_edge.runtime.robots.remote:RemoteRobot",
        "any robot class in a process of its own; LeRobot's by "
        'robot = "ofp_edge.runtime.robots.lerobot:LeRobot"',
        "ofp_edge.runtime.robots.remote:RemoteRobot",
        note="python: the interpreter of an environment that has the class; LeRobot's also by "
        "their type, plug-ins (lerobot_robot_*) too",
    ),
    Driver(
        "ros2",
        "a robot of ros2_control over DDS, without ROS",
        "ofp_edge.runtime.ros2.robot:Ros2Joints",
        "ros2",
        "cyclonedds",
        "docs/ros2.md",
    ),
    Driver(
        "ofp_edge.sim.robot:SimulatedRobot",
        "a simulated task as a robot",
        "ofp_edge.sim.robot:SimulatedRobot",
        note="the extra sim for Meta-World's tasks; planar ones need nothing",
    ),
    Driver("package.module:Class", "your own: docs/robots.md", ""),
)
CAMERAS = (
    Driver(
        "realsense",
        "RealSense depth camera",
        "ofp_edge.runtime.cameras.realsense:device_camera",
        "realsense",
        "pyrealsense2",
        "serial: where several are plugged in",
    ),
    Driver(
        "recording",
        "a recording of a RealSense, played",
        "ofp_edge.runtime.cameras.realsense:recording_camera",
        "realsense",
        "pyrealsense2",
    ),
    Driver(
        "v4l2",
        "webcam, colour alone",
        "ofp_edge.runtime.cameras.v4l2:V4l2Camera",
        "v4l2",
        "cv2",
        "[cameras.NAME.parameters]: fx, fy, cx, cy and T_base_camera, or nothing",
    ),
    Driver(
        "ros2",
        "a camera of ROS 2 over DDS, without ROS",
        "ofp_edge.runtime.ros2.camera:Ros2Camera",
        "ros2",
        "cyclonedds",
        "docs/ros2.md",
    ),
    Driver(
        "rosbag2",
        "a bag of ROS 2 as a camera",
        "ofp_edge.runtime.ros2.bag_camera:BagCamera",
        note="also what ros2's camera takes of names, frames and lenses",
    ),
    Driver(
        "ofp_edge.sim.camera:SimulatedCamera",
        "a camera of a Meta-World task",
        "ofp_edge.sim.camera:SimulatedCamera",
        "sim",
        "mujoco",
    ),
    Driver(
        "ofp_edge.runtime.cameras.lerobot:LeRobotCamera",
        "a camera of LeRobot's, or of a plug-in (lerobot_camera_*), colour alone",
        "ofp_edge.runtime.cameras.lerobot:LeRobotCamera",
        note="needs LeRobot, torch and all, in the environment that runs it",
    ),
    Driver(
        "ofp_edge.runtime.cameras.remote:RemoteCamera",
        "any camera class in a process of its own; LeRobot's by "
        'camera = "ofp_edge.runtime.cameras.lerobot:LeRobotCamera"',
        "ofp_edge.runtime.cameras.remote:RemoteCamera",
        note="python: the interpreter of an environment that has the class",
    ),
    Driver("package.module:Class", "your own (ZED, OAK, CSI): docs/cameras.md", ""),
)


def lerobot_plugins(kind: str) -> list[str]:
    """Return the installed packages named as LeRobot's plug-ins are: lerobot_robot_*,
    lerobot_camera_* for the kinds "robot" and "camera"."""
    prefix = f"lerobot_{kind}_"
    names = (str(x.metadata["Name"] or "").replace("-", "_") for x in metadata.distributions())
    return sorted({name for name in names if name.startswith(prefix)})


def shown_options(options: Mapping[str, Any]) -> str:
    """Write options for people: the required ones first, as `port, calibration, unit = ""`."""
    first = [key for key, value in options.items() if value == "required"]
    rest = [f"{key} = {_plain(x)!r}" for key, x in options.items() if key not in first]
    return ", ".join([*first, *rest])


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    return list(value) if isinstance(value, (list, tuple)) else str(value)
