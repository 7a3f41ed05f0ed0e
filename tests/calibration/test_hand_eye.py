"""Hand-eye: the camera is found; the error that is told is the error that is made; refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from ofp_edge.calibration.board import Finder, Found  # noqa: E402
from ofp_edge.calibration.hand_eye import HandEye, calibrate, rotation_spread  # noqa: E402
from ofp_edge.errors import CheckFailed  # noqa: E402
from ofp_edge.pose import Pose, distance  # noqa: E402
from tests.calibration.rendered import (  # noqa: E402
    BOARD,
    LENS,
    board_poses,
    hand_of,
    pose,
    project,
)

TRUTH = {
    "eye-to-hand": (pose((2.2, -1.9, 0.3), (0.6, 0.1, 0.5)), pose((0.2, 0.1, 0.4), (0.05, 0, 0.1))),
    "eye-in-hand": (pose((0.1, -0.2, 1.5), (0.03, 0.05, 0.08)), pose((3.0, 0.1, 0.2), (0.5, 0, 0))),
}
"""By mount: the camera in the base or in the hand, and the board in the hand or in the base."""


def hands_of(boards: list[Pose], mount: str) -> list[Pose]:
    return [hand_of(B, mount, *TRUTH[mount]) for B in boards]


def solve(hands: list[Pose], boards: list[Pose], mount: str) -> HandEye:
    return calibrate(hands, boards, mount == "eye-in-hand")


def noisy_views(
    seed: int, n: int, pixel: float, mm: float, deg: float, mount: str
) -> list[tuple[Pose, Found | str]]:
    """Hands, and boards or why they were not found, as a robot and a camera would tell them, with
    normal errors: of a pixel's coordinate, of the hand's position and of its rotation (root mean
    square over three axes)."""
    rng = np.random.default_rng(seed)
    finder, boards = Finder(BOARD, LENS), board_poses(n, seed + 100)
    hands = []
    for T in hands_of(boards, mount):
        slip = pose(rng.normal(size=3) * math.radians(deg) / 3**0.5, rng.normal(size=3) * mm / 1732)
        hands.append(T @ slip)
    corners = [project(T) + rng.normal(size=(24, 2)) * pixel for T in boards]
    return [(T, finder.locate(np.arange(24), x)) for T, x in zip(hands, corners, strict=True)]


def noisy(*given: Any) -> Any:
    """Hands and boards of `noisy_views`, all of them found."""
    hands, seen = [], []
    for T, found in noisy_views(*given):
        assert isinstance(found, Found), found
        hands.append(T)
        seen.append(found.T_camera_board)
    return hands, seen


@pytest.mark.parametrize("mount", TRUTH)
def test_every_method_finds_the_camera_when_nothing_is_off(mount: str) -> None:
    boards = board_poses(10)
    got = solve(hands_of(boards, mount), boards, mount)
    for answer in got.answers.values():
        mm, deg = distance(answer, TRUTH[mount][0])
        assert mm < 1e-3 and deg < 1e-4
    assert len(got.answers) == 6 and got.held_out.mm < 1e-3 and got.error_mm < 1e-3


@pytest.mark.parametrize("mount", TRUTH)
def test_a_rendered_board_gives_the_camera_within_a_millimetre_and_a_tenth_of_a_degree(
    mount: str, boards: list[Pose], pictures: list[tuple[Any, Any]]
) -> None:
    finder, seen = Finder(BOARD, LENS), []
    for color, _ in pictures:
        found = finder.find(color)
        assert isinstance(found, Found), found
        seen.append(found.T_camera_board)
    got = solve(hands_of(boards, mount), seen, mount)
    mm, deg = distance(got.X, TRUTH[mount][0])
    print(mount, mm, deg, got.error_mm, got.error_deg, got.held_out[:2], got.apart_mm, got.method)
    assert mm < 1.0 and deg < 0.1
    assert got.held_out.mm < 1.0 and got.apart_mm < 3.0


@pytest.mark.parametrize("noise", [(0.08, 0.0, 0.0), (0.02, 0.5, 0.1)], ids=["pixels", "robot"])
def test_the_told_error_is_the_error_that_is_made(noise: tuple[float, float, float]) -> None:
    made, told = [], []
    for seed in range(6):
        mount = list(TRUTH)[seed % 2]
        got = solve(*noisy(seed, 14, *noise, mount), mount)
        made.append(distance(got.X, TRUTH[mount][0]))
        told.append((got.error_mm, got.error_deg))
    rms = [np.sqrt(np.mean(np.square(x), axis=0)) for x in (made, told)]
    print(rms)
    assert (rms[1] > rms[0] / 2).all() and (rms[1] < rms[0] * 2).all()


def test_the_held_out_board_tells_the_robot_s_own_noise() -> None:
    """Without noise in the picture the held-out board is off by what the hand is off by."""
    hands, boards = noisy(3, 20, 1e-3, 1.0, 0.0, "eye-to-hand")
    got = solve(hands, boards, "eye-to-hand")
    assert 0.7 < got.held_out.mm < 1.6
    hands, boards = noisy(3, 20, 1e-3, 0.0, 0.2, "eye-in-hand")
    assert 0.14 < solve(hands, boards, "eye-in-hand").held_out.deg < 0.32


def test_too_few_views_are_refused() -> None:
    boards = board_poses(7)
    with pytest.raises(CheckFailed, match="found in 7 views, at least 8 are needed"):
        solve(hands_of(boards, "eye-to-hand"), boards, "eye-to-hand")


@pytest.mark.parametrize(("tilts", "message"), [
    ([(0, 0, a) for a in np.linspace(-0.6, 0.6, 10)], r"spread 2\d.\d, 0.0 and 0.0 deg"),
    ([(0.05 * math.sin(a), 0.05 * math.cos(a), 0) for a in range(10)], "Tilt the hand by 20 deg"),
], ids=["one axis", "hardly at all"])  # fmt: skip
def test_hands_that_hardly_turn_are_refused_with_the_figures(tilts: Any, message: str) -> None:
    boards = [pose(t, (0.01 * i, 0, 0.6)) for i, t in enumerate(tilts)]
    with pytest.raises(CheckFailed, match=message):
        solve(hands_of(boards, "eye-in-hand"), boards, "eye-in-hand")


def test_methods_that_disagree_are_refused_with_the_figures() -> None:
    boards = board_poses(12)
    hands = hands_of(boards, "eye-to-hand")
    with pytest.raises(CheckFailed, match=r"methods disagree by \d+\.\d mm \(\w+ and \w+\) and"):
        solve([*hands[1:], hands[0]], boards, "eye-to-hand")  # each pose with the next picture


def test_the_wrong_mount_is_refused() -> None:
    boards = board_poses(12)
    with pytest.raises(CheckFailed, match="methods disagree"):
        solve(hands_of(boards, "eye-to-hand"), boards, "eye-in-hand")


def test_rotation_spread_is_the_deviation_about_the_main_axes() -> None:
    a = math.radians(20)
    turns = [(a, 0, 0), (-a, 0, 0), (0, a / 2, 0), (0, -a / 2, 0)]
    first = pose((0.3, 1.0, -2.0), (1, 2, 3))
    spread = rotation_spread(np.array([first @ pose(t, (0, 0, 0)) for t in turns]))
    np.testing.assert_allclose(spread, (20 / 2**0.5, 10 / 2**0.5, 0), atol=1e-6)
