"""Camera parameters: JSON round trip, what is refused, and when two cameras count as the same."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import SpecMismatch

IDENTITY = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
CAMERA = CameraParameters(64, 48, 60.0, 60.0, 31.5, 23.5, 0.001, "base", IDENTITY)
TOLERANCE = CameraTolerance()


def moved(x_m: float = 0.0, yaw_deg: float = 0.0) -> CameraParameters:
    c, s = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    pose = ((c, -s, 0.0, x_m), (s, c, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    return replace(CAMERA, T_base_camera=pose)


def test_json_gives_back_the_same_camera() -> None:
    assert CameraParameters.from_json(json.loads(json.dumps(CAMERA.to_json()))) == CAMERA


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "positive"),
        ({"fx": -1.0}, "positive"),
        ({"depth_unit_m": 0.0}, "positive"),
        ({"T_base_camera": ((-1.0, 0.0, 0.0, 0.0), *IDENTITY[1:])}, "a rotation, got a mirror"),
        ({"T_base_camera": IDENTITY[:3]}, "4 rows of 4 numbers"),
        ({"T_base_camera": ((2.0, 0.0, 0.0, 0.0), *IDENTITY[1:])}, "orthonormal"),
    ],
)
def test_an_impossible_camera_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecMismatch, match=message):
        replace(CAMERA, **change)


@pytest.mark.parametrize("value", [None, [], {}, {**CAMERA.to_json(), "lens": 1}])
def test_json_with_other_keys_is_refused(value: Any) -> None:
    with pytest.raises(SpecMismatch, match="camera parameters: expected the keys"):
        CameraParameters.from_json(value)


@pytest.mark.parametrize(
    "camera",
    [CAMERA, replace(CAMERA, fx=61.0), replace(CAMERA, cy=26.0), moved(0.009), moved(0, 0.9)],
)
def test_a_camera_within_tolerance_passes(camera: CameraParameters) -> None:
    TOLERANCE.require("front", CAMERA, camera)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (replace(CAMERA, width=640), r"image size: expected \(64, 48\), got \(640, 48\)"),
        (replace(CAMERA, depth_unit_m=0.0001), "depth unit, m"),
        (replace(CAMERA, fx=61.3), "fx, px: expected 60 within 1.2, got 61.3"),
        (replace(CAMERA, fy=58.7), "fy, px"),
        (replace(CAMERA, cx=28.4), "cx, px: expected 31.5 within 3"),
        (replace(CAMERA, base_frame="world"), "frame: expected base, got world"),
        (moved(0.011), "pose: expected within 10 mm and 1 deg, got 11.0 mm and 0.00 deg away"),
        (moved(0, 1.1), "pose: expected within 10 mm and 1 deg, got 0.0 mm and 1.10 deg away"),
        (moved(0, 180), "180.00 deg away"),
    ],
)
def test_a_camera_out_of_tolerance_is_refused_with_the_figures(
    camera: CameraParameters, message: str
) -> None:
    with pytest.raises(SpecMismatch, match=f"camera 'front', .*{message}|{message}"):
        TOLERANCE.require("front", CAMERA, camera)


@pytest.mark.parametrize("value", [float("nan"), -1.0, "2", True])
def test_a_tolerance_that_would_let_everything_through_is_refused(value: Any) -> None:
    with pytest.raises(SpecMismatch, match="camera tolerance, centre_px: expected 0 or more"):
        CameraTolerance(centre_px=value)


def test_position_is_measured_in_the_base_frame_whatever_the_rotation() -> None:
    a = replace(moved(0.5, 90), base_frame="base")
    b = replace(moved(0.508, 90), base_frame="base")
    TOLERANCE.require("front", a, b)
    with pytest.raises(SpecMismatch, match="12.0 mm"):
        TOLERANCE.require("front", a, moved(0.512, 90))


def test_a_pose_with_another_last_row_is_refused() -> None:
    pose = (*moved().T_base_camera[:3], (9.0, 9.0, 9.0, 1.0))
    with pytest.raises(SpecMismatch, match="last row"):
        replace(moved(), T_base_camera=pose)
