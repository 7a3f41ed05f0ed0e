"""The check of the factory's intrinsics and depth scale against a board of known size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.calibration.board import Board, Found
from ofp_edge.calibration.views import DepthSensor, View, Views
from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import CheckFailed
from ofp_edge.extras import require
from ofp_edge.lens import Lens
from ofp_edge.pose import Pose

MIN_VIEWS, MIN_DETECTIONS = 5, 100
MAX_RMS_PX = 1.0
MAX_DEPTH_PERCENT = 3.0
_MIN_DEPTHS = 100  # a view's depth counts from this many measured pixels on the board on


@dataclass(frozen=True)
class Fitted:
    """The intrinsics that fit the views best, each as (value, standard deviation) in pixels."""

    fx: tuple[float, float]
    fy: tuple[float, float]
    cx: tuple[float, float]
    cy: tuple[float, float]
    rms_px: float


@dataclass(frozen=True)
class Check:
    """The figures of a camera's check.

    `rms_px` is the root mean square distance between where a corner is seen and where the given
    intrinsics, with the best pose of each view, put it. `fitted.rms_px` is what the best intrinsics
    reach on the same corners. `depth_percent` is how much farther away the depth image puts the
    board than it is, median over views (None without depth); `depth_views` counts the views in
    which it could be measured.
    """

    views: int
    detections: int
    rms_px: float
    worst: tuple[str, float]
    fitted: Fitted
    depth_percent: float | None
    depth_views: int


def check_camera(views: Views) -> Check:
    """Measure a camera against a board. Raises CheckFailed where too little of the board was seen;
    `judge` says whether the result is good."""
    found, setup = views.found, views.setup
    detections = sum(len(f.numbers) for f in found)
    if len(found) < MIN_VIEWS or detections < MIN_DETECTIONS:
        why = f" First of the others: {': '.join(views.skipped[0])}." if views.skipped else ""
        raise CheckFailed(
            f"camera check: the board was found in {len(found)} of "
            f"{len(found) + len(views.skipped)} views, {detections} corners in all; at least "
            f"{MIN_VIEWS} views and {MIN_DETECTIONS} corners are needed.{why}"
        )
    squares = sum(f.rms_px**2 * len(f.numbers) for f in found)
    worst = max(zip(views.views, found, strict=True), key=lambda pair: pair[1].rms_px)
    ratios = []
    if setup.depth is not None:
        for view, seen in zip(views.views, found, strict=True):
            ratio = depth_ratio(view, seen.T_camera_board, setup.board, setup.depth)
            if ratio is not None:
                ratios.append(ratio)
    return Check(
        len(found),
        detections,
        math.sqrt(squares / detections),
        (worst[0].name, worst[1].rms_px),
        fit(found, setup.board, setup.lens),
        100 * (float(np.median(ratios)) - 1) if ratios else None,
        len(ratios),
    )


def judge(check: Check, lens: Lens) -> None:
    """Raises CheckFailed, with the figures, when the camera is not what it says it is.

    A flat board's pose absorbs much of a lens's error, so the RMS alone is a coarse measure: the
    fitted values may not be off both by more than CameraTolerance's defaults and by three standard
    deviations.
    """
    if check.rms_px > MAX_RMS_PX:
        raise CheckFailed(
            f"camera check: corners are {check.rms_px:.2f} px off (RMS), at most {MAX_RMS_PX:g} px "
            f"is accepted; worst view {check.worst[0]} ({check.worst[1]:.2f} px); the best "
            f"intrinsics for these views reach {check.fitted.rms_px:.2f} px. Is the board flat and "
            "measured, was everything still, do the intrinsics belong to this image size?"
        )
    limits = CameraTolerance()
    for name, limit in (
        ("fx", lens.fx * limits.focal_percent / 100),
        ("cx", limits.centre_px),
        ("fy", lens.fy * limits.focal_percent / 100),
        ("cy", limits.centre_px),
    ):
        given, (value, deviation) = getattr(lens, name), getattr(check.fitted, name)
        if abs(value - given) > limit + 3 * deviation:
            raise CheckFailed(
                f"camera check: {name} is said to be {given:.1f} px; these views fit {value:.1f} "
                f"± {deviation:.1f} px best, at most {limit:.1f} px apart is accepted. Do the "
                "intrinsics belong to this camera and image size? Then recalibrate it with the "
                "maker's tool."
            )
    if check.depth_percent is not None and abs(check.depth_percent) > MAX_DEPTH_PERCENT:
        raise CheckFailed(
            f"camera check: depth is {check.depth_percent:+.1f} % off on the board, at most "
            f"{MAX_DEPTH_PERCENT:g} % is accepted. Check the squares' measured side; then "
            "recalibrate the camera with the maker's tool."
        )


def fit(found: list[Found], board: Board, lens: Lens) -> Fitted:
    """Fit a pinhole to straightened corners, beginning at `lens`."""
    cv2 = require("cv2", "calibrate")
    points = [board.corners[f.numbers].astype(np.float32) for f in found]
    pixels = [f.pixels.astype(np.float32) for f in found]
    flags = (
        cv2.CALIB_USE_INTRINSIC_GUESS
        | cv2.CALIB_ZERO_TANGENT_DIST
        | cv2.CALIB_FIX_K1
        | cv2.CALIB_FIX_K2
        | cv2.CALIB_FIX_K3
    )
    rms, matrix, _, _, _, deviations, _, _ = cv2.calibrateCameraExtended(
        points, pixels, (lens.width, lens.height), lens.matrix, np.zeros(5), flags=flags
    )
    fx, fy, cx, cy = (float(x) for x in deviations.ravel()[:4])
    m = matrix.astype(float)
    return Fitted(
        (float(m[0, 0]), fx),
        (float(m[1, 1]), fy),
        (float(m[0, 2]), cx),
        (float(m[1, 2]), cy),
        float(rms),
    )


def depth_ratio(view: View, T_camera_board: Pose, board: Board, sensor: DepthSensor) -> Any:
    """Return measured over expected depth on the board, median over its pixels; None where it is
    unmeasured."""
    if view.depth is None:
        return None
    pose = np.linalg.inv(sensor.T_image_depth) @ T_camera_board
    corners, normal = _onto(pose, board.outline), pose[:3, 2]
    if (corners[:, 2] <= 0).any():
        return None
    lens = sensor.lens
    inside = _inside(lens, corners)
    v, u = np.nonzero(inside & (view.depth > 0))
    if len(u) < _MIN_DEPTHS:
        return None
    rays = np.stack([(u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy, np.ones(len(u))], axis=1)
    expected_m = (normal @ pose[:3, 3]) / (rays @ normal)
    return float(np.median(view.depth[v, u] * sensor.unit_m / expected_m))


def _inside(lens: Lens, corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the mask (H, W) of the pixels on the board, whose outline (4, 3), in metres, a
    pinhole sees."""
    cv2 = require("cv2", "calibrate")
    middle = corners.mean(axis=0)
    corners = middle + 0.9 * (corners - middle)  # depth is poor at edges
    seen = corners @ lens.matrix.T
    mask = np.zeros((lens.height, lens.width), dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.rint(seen[:, :2] / seen[:, 2:]).astype(np.int32), 1)
    return np.asarray(mask, dtype=bool)


def _onto(pose: Pose, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ pose[:3, :3].T + pose[:3, 3])
