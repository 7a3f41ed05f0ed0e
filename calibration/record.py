"""Views that are taken live: the rig's camera, the board, and the robot's report of where its hand
is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ofp_edge.calibration.board import Board, Finder
from ofp_edge.calibration.views import DepthSensor, Setup, View, Views
from ofp_edge.errors import CameraError, RobotError
from ofp_edge.fields import State
from ofp_edge.lens import Lens
from ofp_edge.pose import Pose, distance, from_quaternion, rows
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.camera import Camera
from ofp_edge.runtime.cameras.open import open_camera
from ofp_edge.runtime.cameras.realsense import RealSenseCamera
from ofp_edge.runtime.robot import Robot
from ofp_edge.spec import Interface

FIELD = "hand_pose"
_FIELD = State(FIELD, (7,), "m, then quaternion x y z w", "base", (-1e3,) * 7, (1e3,) * 7)
HAND_POSE = Interface((_FIELD,), ())
"""What a robot is built with here: it must tell `hand_pose` (x, y, z in metres, then a quaternion
x, y, z, w, in the base's frame). It has no action: the robot is never sent one."""
_FRAME_MS = 5000.0
_STILL_MM, _STILL_DEG = 0.3, 0.05


def open_whole(entry: CameraEntry, *, color: bool = True) -> Camera:
    """Open the rig's camera with its colour sensor's own image, not yet started, its pose known or
    not.

    The rig's own intrinsics are left out, because the device's are what is looked at.
    """
    options = dict(entry.options)
    if color and entry.driver in ("realsense", "recording"):
        options |= {"color": True, "align": False}
    own = {k: v for k, v in entry.parameters.items() if k in ("T_base_camera", "base_frame")}
    parameters = {"T_base_camera": rows(np.eye(4)), **own}
    return open_camera(replace(entry, options=options, parameters=parameters))


@contextlib.contextmanager
def started(camera: Camera) -> Iterator[Camera]:
    """Start the camera, and close it at the end."""
    try:
        camera.start()
        yield camera
    finally:
        camera.close()


def eyes(camera: Camera) -> tuple[Lens, DepthSensor]:
    """Return the lens of a started camera's colour pictures, and how its depth sensor stands to
    it."""
    if isinstance(camera, RealSenseCamera) and camera.shows_color:
        sensors = camera.sensors
        if sensors.color is not None and sensors.T_color_depth is not None:
            depth = DepthSensor(sensors.depth, sensors.depth_unit_m, sensors.T_color_depth)
            return sensors.color, depth
    p = camera.parameters
    lens = Lens(p.width, p.height, p.fx, p.fy, p.cx, p.cy)
    return lens, DepthSensor(lens, p.depth_unit_m, np.eye(4))


def serial_of(camera: Camera) -> str | None:
    """Return the serial number of a started camera, or None where it is no RealSense device."""
    return camera.sensors.serial if isinstance(camera, RealSenseCamera) else None


def has_color(camera: Camera) -> bool:
    """Say whether a started camera has a colour sensor; for a class of the user's own this is
    unknown before its first frame."""
    return not isinstance(camera, RealSenseCamera) or camera.sensors.color is not None


def shows_color(entry: CameraEntry) -> bool:
    """Say whether T_base_camera belongs to the colour sensor, because the policy's picture is its
    own."""
    known = entry.driver in ("realsense", "recording")
    return known and entry.options.get("color", False) and not entry.options.get("align", True)


def pose_for_rig(entry: CameraEntry, X: Pose, depth: DepthSensor | None) -> Pose:
    """Lead from the pose of the camera that took the pictures to that of the sensor that the rig
    means."""
    return X if depth is None or shows_color(entry) else X @ depth.T_image_depth


@dataclass
class Recorder:
    """A recorder takes views one by one. `camera` is started; `robot` is None when no robot takes
    part."""

    camera: Camera
    robot: Robot | None
    setup: Setup

    def __post_init__(self) -> None:
        self.views = Views(self.setup)
        self._finder = Finder(self.setup.board, self.setup.lens)

    def take(self) -> str | None:
        """Take one view of what the camera sees now. Return why it does not count, or None.

        Raises CameraError without a colour frame, RobotError without the hand's pose.
        """
        before = self._hand()
        self.camera.read(0.0)  # discards a frame that waited since before
        frame = self.camera.read(_FRAME_MS)
        name = self.camera.name if isinstance(self.camera, RealSenseCamera) else "camera"
        if frame is None:
            raise CameraError(f"{name!r}: no new frame within {_FRAME_MS / 1000:g} s.")
        if frame.color is None:
            raise CameraError(
                f"{name!r}: no colour in its frames. Set color = true in its options."
            )
        after = self._hand()
        if before is not None and after is not None:
            mm, deg = distance(before, after)
            if mm > _STILL_MM or deg > _STILL_DEG:
                return (
                    f"the hand moved by {mm:.1f} mm, {deg:.2f} deg meanwhile: let it come to rest"
                )
        number = len(self.views.views)
        view = View(f"{number:03d}.png", frame.color, frame.depth, after)
        return self.views.add(view, self._finder)

    def _hand(self) -> Pose | None:
        return None if self.robot is None else hand_pose(self.robot)


def hand_pose(robot: Robot) -> Pose:
    """Return T_base_hand as the robot's state gives it. Raises RobotError, in one line, when it
    does not."""
    values = robot.state().values
    value: Any = values.get(FIELD)
    if value is None:
        raise RobotError(
            f"the robot's state has no {FIELD!r}, only {sorted(values)}: x, y, z in metres, then a "
            "quaternion x, y, z, w, in the base's frame. See docs/calibration.md."
        )
    value = np.asarray(value, dtype=np.float64)
    length = float(np.linalg.norm(value[3:])) if value.shape == (7,) else 0.0
    if value.shape != (7,) or not np.isfinite(value).all() or abs(length - 1) > 1e-3:
        raise RobotError(
            f"the robot's {FIELD}: expected 7 numbers, the last 4 a unit quaternion x, y, z, w; "
            f"got {value.tolist()}."
        )
    return from_quaternion(value[:3], value[3:])


def record(
    recorder: Recorder, count: int, ask: Callable[[str], str], say: Callable[[str], None]
) -> None:
    """Wait for the Enter key before each view until `count` were taken; an answer of q ends the
    recording.

    `ask` shows a prompt and returns the line typed. `say` gets what became of the view.
    """
    views, what = recorder.views, "robot" if recorder.robot is not None else "board"
    while len(views.views) < count:
        prompt = f"view {len(views.views) + 1} of {count}: move the {what}, wait, Enter (q ends): "
        if ask(prompt).strip().lower().startswith("q"):
            return
        trouble = recorder.take()
        if trouble is not None:
            say(f"not taken: {trouble}")
            continue
        found = views.found[-1]
        say(
            f"{views.views[-1].name}: {len(found.numbers)} of {len(views.setup.board.corners)} "
            f"corners, {found.rms_px:.2f} px, {found.T_camera_board[2, 3]:.2f} m away"
        )


def new_setup(camera: Camera, board: Board, mount: str | None, base: str, hand: str) -> Setup:
    """Return what a started camera's views will share."""
    lens, depth = eyes(camera)
    return Setup(board, lens, depth, mount, base, hand)
