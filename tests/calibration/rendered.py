"""A ChArUco board rendered by MuJoCo at known poses, in colour and depth."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.calibration.board import Board
from ofp_edge.calibration.views import DepthSensor, Setup, View
from ofp_edge.lens import Lens
from ofp_edge.pose import Pose, make_pose

BOARD = Board()
WIDTH, HEIGHT, FOVY_DEG = 480, 360, 40.0
FOCAL = HEIGHT / 2 / np.tan(np.radians(FOVY_DEG) / 2)
LENS = Lens(WIDTH, HEIGHT, FOCAL, FOCAL, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
UNIT_M = 1e-4
_RIM_PX = 60
_TURN = np.diag([1.0, -1.0, -1.0, 1.0])  # optical axes to MuJoCo's, and the board's to the plane's
_SCENE = """
<mujoco>
  <asset>
    <texture name="board" type="2d" file="board.png"/>
    <material name="board" texture="board" texuniform="false" texrepeat="1 1" specular="0"/>
  </asset>
  <visual>
    <global offwidth="{width}" offheight="{height}" fovy="{fovy}"/>
    <quality offsamples="8"/>
    <headlight ambient="0.9 0.9 0.9" diffuse="0 0 0" specular="0 0 0"/>
    <map znear="0.05" zfar="10"/>
  </visual>
  <statistic extent="1" center="0 0 0"/>
  <worldbody>
    <geom type="plane" size="{x} {y} 0.1" material="board"/>
    <camera name="eye" fovy="{fovy}"/>
  </worldbody>
</mujoco>
"""


def rotation(vector: Any) -> NDArray[np.float64]:
    """(3, 3) from axis times angle, rad (Rodrigues)."""
    vector = np.asarray(vector, dtype=np.float64)
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def pose(vector: Any, position_m: Any) -> Pose:
    """(4, 4) from a rotation vector and a position."""
    return make_pose(rotation(vector), position_m)


def board_poses(n: int, seed: int = 0, tilt: float = 0.35) -> list[Pose]:
    """n poses T_camera_board with the whole board in sight, tilted about every axis."""
    rng = np.random.default_rng(seed)
    found: list[Pose] = []
    while len(found) < n:
        place = rng.uniform((-0.1, -0.08, 0.5), (0.1, 0.08, 0.75))
        T = pose(rng.normal(size=3) * tilt, place)
        seen = project(T)
        if (seen > 4).all() and (seen < np.array([WIDTH, HEIGHT]) - 5).all():
            found.append(T)
    return found


def project(T_camera_board: Pose, lens: Lens = LENS) -> NDArray[np.float64]:
    """(n, 2) pixels of the board's corners."""
    points = BOARD.corners @ T_camera_board[:3, :3].T + T_camera_board[:3, 3]
    seen = points @ lens.matrix.T
    return np.asarray(seen[:, :2] / seen[:, 2:])


class BoardRenderer:
    """Renders the board. Close it when done."""

    def __init__(self, gl: str) -> None:
        import cv2
        import mujoco

        self._mujoco = mujoco
        mujoco.gl_context.GLContext = importlib.import_module(f"mujoco.{gl}").GLContext
        picture = np.pad(BOARD.picture(), _RIM_PX, constant_values=255)
        png = cv2.imencode(".png", picture)[1].tobytes()
        y, x = (size / 120 * BOARD.square_m / 2 for size in picture.shape)
        text = _SCENE.format(width=WIDTH, height=HEIGHT, fovy=FOVY_DEG, x=x, y=y)
        self._model = mujoco.MjModel.from_xml_string(text, {"board.png": png})
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)
        self._renderer = mujoco.Renderer(self._model, HEIGHT, WIDTH)

    def render(self, T_camera_board: Pose) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """RGB (H, W, 3) and raw depth (H, W) in UNIT_M."""
        mujoco, renderer = self._mujoco, self._renderer
        eye = _TURN @ np.linalg.inv(T_camera_board) @ _TURN
        self._data.cam_xpos[0] = eye[:3, 3]
        self._data.cam_xmat[0] = eye[:3, :3].reshape(-1)
        renderer.update_scene(self._data, 0)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = 0
        color = renderer.render().copy()
        renderer.enable_depth_rendering()
        depth_m = renderer.render()
        renderer.disable_depth_rendering()
        raw = np.rint(depth_m / UNIT_M)
        return color, np.where(raw < 65535, raw, 0).astype(np.uint16)

    def close(self) -> None:
        self._renderer.close()


def views_at(
    boards: list[Pose], pictures: list[tuple[Any, Any]], mount: str, X: Pose, held: Pose
) -> Iterator[View]:
    """Views with the hand where it must have been. X: the camera in the base, or in the hand;
    held: the board in the hand, or in the base."""
    for number, (B, (color, depth)) in enumerate(zip(boards, pictures, strict=True)):
        T = hand_of(B, mount, X, held)
        yield View(f"{number:03d}.png", color, depth, T)


def hand_of(B: Pose, mount: str, X: Pose, held: Pose) -> Pose:
    """T_base_hand of the one view."""
    T = X @ B @ np.linalg.inv(held)
    return T if mount == "eye-to-hand" else np.linalg.inv(T)


def setup(mount: str | None, depth: bool = True) -> Setup:
    """What the rendered views share; the depth sensor is the camera itself."""
    sensor = DepthSensor(LENS, UNIT_M, np.eye(4)) if depth else None
    return Setup(BOARD, LENS, sensor, mount)
