"""The ChArUco check: what a good camera gets, and what is wrong is named with its figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from ofp_edge.calibration.board import Board, Finder, Found  # noqa: E402
from ofp_edge.calibration.camera_check import check_camera, judge  # noqa: E402
from ofp_edge.calibration.views import DepthSensor, View, Views  # noqa: E402
from ofp_edge.errors import CheckFailed, OfpError, SpecMismatch, UnknownName  # noqa: E402
from ofp_edge.lens import MODELS, Lens  # noqa: E402
from ofp_edge.pose import Pose  # noqa: E402
from tests.calibration.rendered import BOARD, LENS, UNIT_M, pose, project, setup  # noqa: E402


def seen(pictures: list[tuple[Any, Any]], lens: Lens = LENS, depth_scale: float = 1.0) -> Views:
    sensor = DepthSensor(LENS, UNIT_M * depth_scale, np.eye(4))
    views = Views(replace(setup(None), lens=lens, depth=sensor))
    for number, (color, depth) in enumerate(pictures):
        views.add(View(f"{number:03d}.png", color, depth), Finder(BOARD, lens))
    return views


def test_true_intrinsics_and_depth_pass_with_small_figures(pictures: list[Any]) -> None:
    check = check_camera(seen(pictures))
    judge(check, LENS)
    assert check.views == len(pictures) and check.detections == 24 * len(pictures)
    assert check.rms_px < 0.3 and check.rms_px <= check.worst[1]
    assert check.depth_percent == pytest.approx(0, abs=0.3) and check.depth_views == check.views
    for name in ("fx", "fy", "cx", "cy"):
        value, deviation = getattr(check.fitted, name)
        assert abs(value - getattr(LENS, name)) < 4 * deviation < 8


def test_wrong_intrinsics_are_refused_and_the_fit_says_what_they_should_be(
    pictures: list[Any],
) -> None:
    wrong = replace(LENS, fx=1.1 * LENS.fx, fy=1.1 * LENS.fy, cx=LENS.cx + 20)
    check = check_camera(seen(pictures, wrong))
    with pytest.raises(
        CheckFailed, match=rf"fx is said to be {wrong.fx:.1f} px; these views fit 4"
    ):
        judge(check, wrong)
    assert abs(check.fitted.fx[0] - LENS.fx) < 4 * check.fitted.fx[1]
    assert check.fitted.rms_px < 0.3


def test_corners_that_no_camera_sees_so_are_refused_with_the_rms(pictures: list[Any]) -> None:
    bent = replace(LENS, model="brown_conrady", coefficients=(1.0, 0.0, 0.1, 0.0, 0.0))
    check = check_camera(seen(pictures, bent))
    with pytest.raises(CheckFailed, match=r"corners are \d\.\d\d px off \(RMS\), at most 1 px"):
        judge(check, LENS)


@pytest.mark.parametrize(("scale", "message"), [(1.05, r"\+5\.0 % off"), (0.95, r"-5\.0 % off")])
def test_a_wrong_depth_scale_is_refused(pictures: list[Any], scale: float, message: str) -> None:
    check = check_camera(seen(pictures, depth_scale=scale))
    with pytest.raises(CheckFailed, match=message):
        judge(check, LENS)


def test_depth_is_compared_in_the_depth_sensor_s_own_place(pictures: list[Any]) -> None:
    """A sensor said to be 50 mm behind where it is sees everything too near."""
    views = seen(pictures)
    wrong = DepthSensor(LENS, UNIT_M, pose((0, 0, 0), (0, 0, -0.05)))
    views.setup = replace(views.setup, depth=wrong)
    percent = check_camera(views).depth_percent
    assert percent is not None and -11 < percent < -5


def test_too_few_detections_are_refused_and_say_why(pictures: list[Any]) -> None:
    blank = np.zeros_like(pictures[0][0]), None
    views = seen([*pictures[:4], blank, blank])
    with pytest.raises(CheckFailed, match=r"found in 4 of 6 views, 96 corners .* at least 5 views"):
        check_camera(views)
    assert [name for name, _ in views.skipped] == ["004.png", "005.png"]
    assert "0 of 24 corners seen, at least 8 needed" in views.skipped[0][1]


def test_a_board_seen_in_part_counts(pictures: list[Any], boards: list[Pose]) -> None:
    color = pictures[0][0].copy()
    middle = int(project(boards[0])[:, 0].mean())
    color[:, :middle] = 0
    found = Finder(BOARD, LENS).find(color)
    assert isinstance(found, Found) and 8 <= len(found.numbers) < 24


def test_corners_on_a_line_and_poses_that_fit_alike_do_not_count() -> None:
    finder = Finder(BOARD, LENS)
    pixels = project(pose((0.3, 0, 0), (0, 0, 0.6)))
    assert "one line" in str(finder.locate(np.arange(6), pixels[:6]))
    far = project(pose((0.4, 0.1, 0), (0, 0, 12.0)))
    assert "two poses" in str(finder.locate(np.arange(24), np.rint(4 * far) / 4))


@pytest.mark.parametrize("model", MODELS)
def test_what_the_sdk_s_lens_bends_is_straightened(model: str) -> None:
    rs = pytest.importorskip("pyrealsense2")
    lens = Lens(640, 480, 610.0, 605.0, 322.0, 243.0, model, (0.1, -0.2, 0.001, -0.002, 0.05))
    sdk = rs.intrinsics()
    sdk.width, sdk.height, sdk.fx, sdk.fy = lens.width, lens.height, lens.fx, lens.fy
    sdk.ppx, sdk.ppy, sdk.coeffs = lens.cx, lens.cy, list(lens.coefficients)
    sdk.model = getattr(rs.distortion, model)
    for x, y in ((-0.45, -0.3), (0, 0), (0.4, 0.35), (0.1, -0.3)):
        pixel = rs.rs2_project_point_to_pixel(sdk, [x, y, 1.0])
        want = [x * lens.fx + lens.cx, y * lens.fy + lens.cy]
        assert model == "none" or x == 0 or max(abs(np.subtract(pixel, want))) > 0.5
        np.testing.assert_allclose(lens.straighten(np.array([pixel]))[0], want, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"fx": 0.0}, SpecMismatch), ({"cx": float("nan")}, SpecMismatch),
        ({"coefficients": (1.0,)}, SpecMismatch),
        ({"model": "ftheta", "coefficients": (0.1, 0.0, 0.0, 0.0, 0.0)}, SpecMismatch),
    ],
)  # fmt: skip
def test_an_impossible_lens_is_refused(change: dict[str, Any], error: type[OfpError]) -> None:
    with pytest.raises(error, match="lens"):
        replace(LENS, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"squares": (7, 2)}, "squares: expected two whole numbers from 3"),
        ({"marker_m": 0.05}, "marker side < square side"),
        ({"square_m": float("nan")}, "marker side < square side"),
    ],
)
def test_an_impossible_board_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecMismatch, match=message):
        replace(BOARD, **change)


def test_a_dictionary_that_is_unknown_or_too_small_is_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean '4x4_50'"):
        replace(BOARD, dictionary="4x4_5").opencv()
    with pytest.raises(OfpError, match="has 60 markers, 4x4_50 only 50"):
        Board((12, 10)).opencv()
