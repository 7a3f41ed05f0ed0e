"""Hand-eye calibration finds where the camera stands, from a board that is seen while the robot
moves.

With the camera on the hand (eye-in-hand) the unknown X is T_hand_camera, and the board stands still
in the base: T_base_hand X T_camera_board = const. With the camera fixed (eye-to-hand) X is
T_base_camera and the board stands still in the hand: T_hand_base X T_camera_board = const. Both are
A X B = Y, with A = T_base_hand or its inverse.

Six methods of OpenCV answer: Tsai 1989, Park 1994, Horaud 1995, Andreff 1999 and Daniilidis 1998 (A
X = X B), and Shah 2013 (A X = Y B; the other method of its kind, Li 2010, errs like Andreff under
noise and adds no information). The answer that predicts the board best in views that it has not
seen is taken.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import CheckFailed
from ofp_edge.extras import require
from ofp_edge.pose import Pose, distance, make_pose, mean_pose, nearest_rotation, rotation_vector

MIN_VIEWS = 8
MIN_SPREAD_DEG = 5.0
MAX_APART_MM, MAX_APART_DEG = 3.0, 0.5
METHODS = {
    "tsai": "CALIB_HAND_EYE_TSAI",
    "park": "CALIB_HAND_EYE_PARK",
    "horaud": "CALIB_HAND_EYE_HORAUD",
    "andreff": "CALIB_HAND_EYE_ANDREFF",
    "daniilidis": "CALIB_HAND_EYE_DANIILIDIS",
    "shah": "CALIB_ROBOT_WORLD_HAND_EYE_SHAH",
}


class HeldOut(NamedTuple):
    """How far the board is from where the other views put it: the root mean square over views, and
    each view's own millimetres."""

    mm: float
    deg: float
    by_view_mm: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class HandEye:
    """The answer X: the camera in the base (eye-to-hand) or in the hand (eye-in-hand), by `method`.

    `error_mm` and `error_deg` are one standard deviation of X, found by leaving out each view in
    turn (jackknife). They show noise; they cannot show an error that all views share, such as a
    robot whose joints are off.
    """

    X: Pose
    method: str
    answers: dict[str, Pose]
    apart_mm: float
    apart_deg: float
    spread_deg: tuple[float, float, float]
    held_out: HeldOut
    error_mm: float
    error_deg: float


def calibrate(
    T_base_hand: Sequence[Pose], T_camera_board: Sequence[Pose], eye_in_hand: bool
) -> HandEye:
    """Solve from n views, n >= MIN_VIEWS.

    Raises CheckFailed, with the figures, on too few views, too little rotation, or methods that
    disagree.
    """
    if len(T_base_hand) < MIN_VIEWS:
        raise CheckFailed(
            f"hand-eye: the board was found in {len(T_base_hand)} views, at least {MIN_VIEWS} are "
            "needed (15 to 20 are good)."
        )
    hands, boards = np.array(T_base_hand), np.array(T_camera_board)
    spread = rotation_spread(hands)
    if spread[1] < MIN_SPREAD_DEG:
        raise CheckFailed(
            f"hand-eye: the hand's rotations spread {spread[0]:.1f}, {spread[1]:.1f} and "
            f"{spread[2]:.1f} deg about their three main axes; at least {MIN_SPREAD_DEG:g} deg "
            "about two of them are needed. Tilt the hand by 20 deg and more, in several directions."
        )
    A = hands if eye_in_hand else np.linalg.inv(hands)
    answers = {method: solve(A, boards, method) for method in METHODS}
    apart_mm, apart_deg = require_agreement(answers)
    ranked = [(held_out(A, boards, method), method) for method in METHODS]
    left, method = min(ranked, key=lambda pair: pair[0][0].mm)
    spread_of_board, estimates = left
    error_mm, error_deg = _jackknife(answers[method], estimates)
    return HandEye(
        answers[method],
        method,
        answers,
        apart_mm,
        apart_deg,
        spread,
        spread_of_board,
        error_mm,
        error_deg,
    )


def rotation_spread(poses: NDArray[Any]) -> tuple[float, float, float]:
    """Return the standard deviation of the rotations (n, 4, 4) about their three main axes, in
    degrees, falling.

    Rotations about one axis alone leave the second at 0, and the camera's place along that axis
    unknown.
    """
    mean = nearest_rotation(poses[:, :3, :3].sum(axis=0))
    turns = np.array([rotation_vector(mean.T @ pose[:3, :3]) for pose in poses])
    values = np.linalg.eigvalsh(turns.T @ turns / len(turns))[::-1]
    a, b, c = (math.degrees(math.sqrt(max(0.0, float(x)))) for x in values)
    return a, b, c


def solve(A: NDArray[Any], B: NDArray[Any], method: str) -> Pose:
    """Return X of A X B = Y by one method. Raises CheckFailed where the method has no answer."""
    cv2 = require("cv2", "calibrate")
    flag = getattr(cv2, METHODS[method])
    a = list(A[:, :3, :3]), list(A[:, :3, 3])
    b = list(B[:, :3, :3]), list(B[:, :3, 3])
    try:
        if method == "shah":
            inverse = np.linalg.inv(A)
            # OpenCV's world is the board, its base is what A leads into, and it gives X inverted.
            answer = cv2.calibrateRobotWorldHandEye(
                *b, list(inverse[:, :3, :3]), list(inverse[:, :3, 3]), method=flag
            )
            X = np.linalg.inv(make_pose(*answer[2:]))
        else:
            X = make_pose(*cv2.calibrateHandEye(*a, *b, method=flag))
    except (cv2.error, np.linalg.LinAlgError):
        X = np.full((4, 4), np.nan)
    if not np.isfinite(X).all():
        raise CheckFailed(f"hand-eye: {method} finds no answer. Move the hand more between views.")
    return make_pose(nearest_rotation(X[:3, :3]), X[:3, 3])


def require_agreement(answers: dict[str, Pose]) -> tuple[float, float]:
    """Return the largest millimetres and degrees between any two answers. Raises CheckFailed past
    the limits."""
    pairs = [
        (distance(answers[a], answers[b]), a, b) for a, b in itertools.combinations(answers, 2)
    ]
    far, turned = max(pairs, key=lambda p: p[0][0]), max(pairs, key=lambda p: p[0][1])
    apart_mm, apart_deg = far[0][0], turned[0][1]
    if apart_mm > MAX_APART_MM or apart_deg > MAX_APART_DEG:
        raise CheckFailed(
            f"hand-eye: the methods disagree by {apart_mm:.1f} mm ({far[1]} and {far[2]}) and "
            f"{apart_deg:.2f} deg ({turned[1]} and {turned[2]}); at most {MAX_APART_MM:g} mm and "
            f"{MAX_APART_DEG:g} deg are accepted. More views with larger tilts? Does each pose "
            "belong to its picture?"
        )
    return apart_mm, apart_deg


def held_out(A: NDArray[Any], B: NDArray[Any], method: str) -> tuple[HeldOut, list[Pose]]:
    """Compare each view's board with the one that the other views predict, and solve X without
    each view."""
    estimates, apart = [], []
    for left_out in range(len(A)):
        kept = np.arange(len(A)) != left_out
        X = solve(A[kept], B[kept], method)
        board = mean_pose(A[kept] @ X @ B[kept])
        apart.append(distance(board, A[left_out] @ X @ B[left_out]))
        estimates.append(X)
    mm, deg = (math.sqrt(float(np.mean(np.square(x)))) for x in zip(*apart, strict=True))
    return HeldOut(mm, deg, tuple(x for x, _ in apart)), estimates


def _jackknife(X: Pose, estimates: list[Pose]) -> tuple[float, float]:
    """Return the standard deviation of X in mm and degrees from the answers with each view left
    out."""
    factor = (len(estimates) - 1) / len(estimates)
    places = np.array([e[:3, 3] for e in estimates])
    turns = np.array([rotation_vector(X[:3, :3].T @ e[:3, :3]) for e in estimates])
    mm, rad = (
        math.sqrt(factor * float(((v - v.mean(axis=0)) ** 2).sum())) for v in (places, turns)
    )
    return 1000 * mm, math.degrees(rad)
