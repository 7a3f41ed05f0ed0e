"""The ChArUco board: how it is printed, found in an image, and placed in front of the camera."""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError, SpecMismatch, UnknownName
from ofp_edge.extras import require
from ofp_edge.lens import Lens
from ofp_edge.pose import Pose, distance, make_pose

MIN_CORNERS = 8
"""An image that shows fewer of the board's corners than this does not count."""
AMBIGUITY, APART_DEG = 1.5, 5.0
"""A flat board seen from afar fits two poses. Where the two are `APART_DEG` apart or more, the
second must fit worse than the first by the factor `AMBIGUITY`."""
_FLOOR_PX = 0.05  # below it two fits cannot be distinguished from noise
_PIXELS_A_SQUARE = 120  # in the printed picture


@dataclass(frozen=True)
class Board:
    """A ChArUco board, described by what was printed.

    `squares` counts columns and rows. The sides are in metres, as measured on the print.
    `dictionary` is OpenCV's name without DICT_, e.g. 4x4_50. The board's frame has its origin in
    the middle, x along a row of squares, y down the columns, and z into the board, away from the
    observer.
    """

    squares: tuple[int, int] = (7, 5)
    square_m: float = 0.036
    marker_m: float = 0.027
    dictionary: str = "4x4_50"

    def __post_init__(self) -> None:
        if len(self.squares) != 2 or not all(type(n) is int and 3 <= n <= 50 for n in self.squares):
            raise SpecMismatch("board, squares", "two whole numbers from 3 to 50", self.squares)
        sides = (self.marker_m, self.square_m)
        if not all(type(x) in (int, float) and math.isfinite(x) for x in sides) or not (
            0 < self.marker_m < self.square_m < 10
        ):
            raise SpecMismatch("board", "0 < marker side < square side, metres", sides)

    @property
    def corners(self) -> NDArray[np.float64]:
        """The corners' places (n, 3) in metres in the board's frame, in the order of their
        numbers."""
        columns, rows = self.squares
        x, y = np.meshgrid(np.arange(1, columns), np.arange(1, rows))
        middle = np.array([columns / 2, rows / 2])
        flat = (np.stack([x.ravel(), y.ravel()], axis=1) - middle) * self.square_m
        return np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)

    @property
    def outline(self) -> NDArray[np.float64]:
        """The corners (4, 3) of the printed squares' rectangle, in metres."""
        half = np.array([*self.squares, 0.0]) * self.square_m / 2
        signs = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        return np.asarray(half * signs)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as views.json has them."""
        return {**asdict(self), "squares": list(self.squares)}

    def opencv(self) -> Any:
        """The board as cv2.aruco.CharucoBoard. Raises UnknownName for a dictionary that OpenCV
        lacks."""
        cv2 = require("cv2", "calibrate")
        known = {
            name.removeprefix("DICT_").lower(): getattr(cv2.aruco, name)
            for name in dir(cv2.aruco)
            if name.startswith("DICT_")
        }
        if str(self.dictionary).lower() not in known:
            raise UnknownName("dictionary", str(self.dictionary), known)
        markers = cv2.aruco.getPredefinedDictionary(known[self.dictionary.lower()])
        needed, have = math.prod(self.squares) // 2, len(markers.bytesList)
        if needed > have:
            raise OfpError(
                f"a board of {self.squares[0]} x {self.squares[1]} squares has {needed} "
                f"markers, {self.dictionary} only {have}."
            )
        return cv2.aruco.CharucoBoard(self.squares, self.square_m, self.marker_m, markers)

    def picture(self) -> NDArray[np.uint8]:
        """Draw the printed squares, with nothing around them, as uint8 (H, W)."""
        columns, rows = self.squares
        size = (columns * _PIXELS_A_SQUARE, rows * _PIXELS_A_SQUARE)
        return np.asarray(self.opencv().generateImage(size, None, 0, 1), dtype=np.uint8)

    def svg(self) -> str:
        """Draw the board in true size, with a white rim of a quarter of a square and a line that
        describes it."""
        cv2 = require("cv2", "calibrate")
        png = base64.b64encode(cv2.imencode(".png", self.picture())[1].tobytes()).decode()
        side, marker = 1000 * self.square_m, 1000 * self.marker_m
        width, height = (n * side for n in self.squares)
        page = (width + side / 2, height + side / 2)
        text = (
            f"{self.squares[0]} x {self.squares[1]} squares of {side:g} mm, markers {marker:g} "
            f"mm, {self.dictionary}. Print at 100 %, then measure."
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{page[0]:g}mm" height="{page[1]:g}mm" '
            f'viewBox="0 0 {page[0]:g} {page[1]:g}">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n'
            f'<image x="{side / 4:g}" y="{side / 4:g}" width="{width:g}" height="{height:g}" '
            f'preserveAspectRatio="none" style="image-rendering: pixelated" '
            f'href="data:image/png;base64,{png}"/>\n'
            f'<text x="{side / 4:g}" y="{page[1] - side / 12:g}" font-size="{side / 9:g}" '
            f'font-family="sans-serif">{text}</text>\n</svg>\n'
        )


@dataclass(frozen=True, eq=False)
class Found:
    """The board in one image: the numbers (n,) of its corners, their straightened pixels (n, 2),
    and its pose T_camera_board. `rms_px` is how far that pose puts the corners from where they are
    seen."""

    numbers: NDArray[np.int64]
    pixels: NDArray[np.float64]
    T_camera_board: Pose
    rms_px: float


class Finder:
    """A finder of one board in the images of one lens."""

    def __init__(self, board: Board, lens: Lens) -> None:
        cv2 = require("cv2", "calibrate")
        self.board, self.lens = board, lens
        self._corners = board.corners
        self._detector = cv2.aruco.CharucoDetector(board.opencv())

    def find(self, image: NDArray[np.uint8]) -> Found | str:
        """Find the board in a grey (H, W) or RGB (H, W, 3) uint8 image, or say why the image does
        not count."""
        cv2 = require("cv2", "calibrate")
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        pixels, numbers, _, _ = self._detector.detectBoard(image)
        count = 0 if numbers is None else len(numbers)
        if count < MIN_CORNERS:
            return f"{count} of {len(self._corners)} corners seen, at least {MIN_CORNERS} needed"
        return self.locate(numbers.reshape(-1), self.lens.straighten(pixels.reshape(-1, 2)))

    def locate(self, numbers: NDArray[Any], pixels: NDArray[np.float64]) -> Found | str:
        """Return the pose that fits these corners (straightened pixels), or say why there is
        none."""
        cv2 = require("cv2", "calibrate")
        points, matrix = self._corners[numbers], self.lens.matrix
        if np.linalg.matrix_rank(points[:, :2] - points[0, :2]) < 2:
            return "all corners seen are on one line"
        # IPPE needs the origin in the corners' middle.
        count, turns, shifts, errors = cv2.solvePnPGeneric(
            points, pixels, matrix, None, flags=cv2.SOLVEPNP_IPPE
        )
        if count == 0:
            return "no pose fits the corners"
        if count > 1 and errors[1, 0] < AMBIGUITY * max(errors[0, 0], _FLOOR_PX):
            two = [make_pose(cv2.Rodrigues(turn)[0], (0, 0, 0)) for turn in turns]
            if distance(*two)[1] > APART_DEG:
                return "two poses fit alike: come nearer, or tilt the board"
        turn, shift = cv2.solvePnPRefineLM(points, pixels, matrix, None, turns[0], shifts[0])
        seen = cv2.projectPoints(points, turn, shift, matrix, None)[0].reshape(-1, 2)
        rms_px = math.sqrt(float(((seen - pixels) ** 2).sum(axis=1).mean()))
        return Found(numbers, pixels, make_pose(cv2.Rodrigues(turn)[0], shift), rms_px)
