"""The camera that a rig names, by its driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ofp_edge.errors import CameraError
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.camera import CAMERA_METHODS, Camera, Clock
from ofp_edge.runtime.plugin import build, load_class, require_methods


def open_camera(entry: CameraEntry, clock: Clock = time.monotonic_ns) -> Camera:
    """Build the camera of a rig, not yet started. Raises CameraError, in one line, when it cannot
    be built."""
    factory = find_camera(entry)
    camera: Camera = build(factory, said_of(entry), arguments_of(entry, clock), CameraError)
    return camera


def said_of(entry: CameraEntry) -> str:
    """Name the camera and its driver, for errors."""
    return f"camera {entry.name!r}, driver {entry.driver}"


def arguments_of(entry: CameraEntry, clock: Clock = time.monotonic_ns) -> dict[str, Any]:
    """Return what the driver's class or function is called with."""
    known = {"name": entry.name, "clock": clock, "parameters": entry.parameters}
    return {**known, **entry.options}


def find_camera(entry: CameraEntry) -> Callable[..., Any]:
    """Return what builds a rig's camera. Raises CameraError, one line, where there is none."""
    factory: Callable[..., Any]
    if entry.driver == "realsense":
        from ofp_edge.runtime.cameras.realsense import device_camera as factory
    elif entry.driver == "recording":
        from ofp_edge.runtime.cameras.realsense import recording_camera as factory
    elif entry.driver == "v4l2":
        from ofp_edge.runtime.cameras.v4l2 import V4l2Camera as factory
    elif entry.driver == "ros2":
        from ofp_edge.runtime.ros2.camera import Ros2Camera as factory
    elif entry.driver == "rosbag2":
        from ofp_edge.runtime.ros2.bag_camera import BagCamera as factory
    elif ":" in entry.driver:
        factory = load_class(entry.driver, CameraError)
        require_methods(factory, entry.driver, CAMERA_METHODS, CameraError)
    else:
        raise CameraError(
            f"camera {entry.name!r}: unknown driver {entry.driver!r}. "
            "Known: realsense, recording, v4l2, ros2, rosbag2, package.module:Class."
        )
    return factory
