"""A camera's parameters (pinhole intrinsics, depth unit, pose), and how far two differ.

Colour images need none of them but the size: what nobody stated is in the frame UNKNOWN, and no
number of it is compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch
from ofp_edge.pose import checked_pose, distance
from ofp_edge.strict import read_as, shown

_WIDEST = 1 << 15
_ASPECT = 0.01  # of it: 848 x 480 and 1280 x 720 are one
UNKNOWN = "unknown"
"""The frame of a camera, or of a field, that no file states."""
Rows4x4 = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class CameraParameters:
    """An undistorted pinhole depth camera.

    Pixel (u, v) at depth d (raw uint16) is the point d * depth_unit_m * ((u - cx) / fx,
    (v - cy) / fy, 1) in the optical frame (x right, y down, z forward), and T_base_camera
    (4 x 4, row-major, metres) takes it into the frame `base_frame`.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    depth_unit_m: float
    base_frame: str
    T_base_camera: Rows4x4

    def __post_init__(self) -> None:
        for name in ("width", "height", "fx", "fy", "cx", "cy", "depth_unit_m"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value)):
                raise SpecMismatch(f"camera, {name}", "a number", repr(value))
            if name not in ("cx", "cy") and value <= 0:
                raise SpecMismatch(f"camera, {name}", "a positive number", value)
            if name in ("width", "height") and value > _WIDEST:
                raise SpecMismatch(f"camera, {name}", f"at most {_WIDEST} pixels", value)
        checked_pose(self.T_base_camera, "T_base_camera")

    @staticmethod
    def unknown(width: int, height: int) -> CameraParameters:
        """Return the parameters of a camera of which only the size is known: `base_frame` says so,
        the other numbers hold places and mean nothing."""
        eye = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
        middle = (width - 1) / 2, (height - 1) / 2
        return CameraParameters(
            width, height, float(width), float(width), *middle, 1e-3, UNKNOWN, eye
        )

    @property
    def known(self) -> bool:
        """Return whether lens and place are stated."""
        return self.base_frame != UNKNOWN

    @property
    def pose(self) -> NDArray[np.float64]:
        """Return T_base_camera as (4, 4) float64, metres."""
        return np.asarray(self.T_base_camera, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` is the inverse."""
        return {**asdict(self), "T_base_camera": [list(row) for row in self.T_base_camera]}

    @staticmethod
    def from_json(value: Any) -> CameraParameters:
        """Read what `to_json` wrote. Raises SpecMismatch on missing or unknown keys."""
        known = set(CameraParameters.__dataclass_fields__)
        if not isinstance(value, dict) or set(value) != known:
            got = shown(sorted(value)) if isinstance(value, dict) else type(value).__name__
            raise SpecMismatch("camera parameters", f"the keys {sorted(known)}", got)
        return read_as(CameraParameters, value, "camera parameters", SpecMismatch)


@dataclass(frozen=True)
class CameraTolerance:
    """The most that a robot's camera may differ from the training camera; beyond, `run` refuses."""

    focal_percent: float = 2.0
    centre_px: float = 3.0
    position_mm: float = 10.0
    rotation_deg: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            plain = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (plain and 0 <= value < math.inf):
                raise SpecMismatch(f"camera tolerance, {name}", "0 or more", repr(value))

    def to_json(self) -> dict[str, float]:
        """Return plain JSON values."""
        return asdict(self)

    def require(
        self,
        name: str,
        expected: CameraParameters,
        got: CameraParameters,
        *,
        only_images: bool = False,
    ) -> None:
        """Raise SpecMismatch with the figures of the first quantity that is too far off.

        only_images: nothing but colour images is made of the camera. They are cropped and shrunk,
        so another size will do that is no smaller and has the same aspect; lens and place are
        compared where both are known. Points need both: a camera of which training knew neither
        is no one's match.
        """
        if not only_images and not expected.known:
            raise SpecMismatch(
                f"camera {name!r} of the policy's training",
                "its lens and place, which points need",
                "none",
                f"State [camera.{name}] in a mapping and give it to the policy (ofp-edge policy "
                "set), then compile again.",
            )
        if only_images:
            _require_size(name, expected, got)
            if not (expected.known and got.known):
                return
            got = _shrunk(got, expected)
        elif (size := (expected.width, expected.height)) != (have := (got.width, got.height)):
            raise SpecMismatch(f"camera {name!r}, image size", size, have)
        self._require_lens(name, expected, got, depth=not only_images)
        if expected.base_frame != got.base_frame:
            raise SpecMismatch(f"camera {name!r}, frame", expected.base_frame, got.base_frame)
        away_mm, away_deg = distance(expected.pose, got.pose)
        if away_mm > self.position_mm or away_deg > self.rotation_deg:
            raise SpecMismatch(
                f"camera {name!r}, pose",
                f"within {self.position_mm:g} mm and {self.rotation_deg:g} deg",
                f"{away_mm:.1f} mm and {away_deg:.2f} deg away",
            )

    def _require_lens(
        self, name: str, expected: CameraParameters, got: CameraParameters, *, depth: bool
    ) -> None:
        checks = (
            *([("depth unit, m", expected.depth_unit_m, got.depth_unit_m, 1e-9)] if depth else ()),
            ("fx, px", expected.fx, got.fx, expected.fx * self.focal_percent / 100),
            ("fy, px", expected.fy, got.fy, expected.fy * self.focal_percent / 100),
            ("cx, px", expected.cx, got.cx, self.centre_px),
            ("cy, px", expected.cy, got.cy, self.centre_px),
        )
        for what, want, have, limit in checks:
            if abs(want - have) > limit:
                raise SpecMismatch(f"camera {name!r}, {what}", f"{want:g} within {limit:g}", have)


def _require_size(name: str, expected: CameraParameters, got: CameraParameters) -> None:
    ratio = got.width * expected.height / (got.height * expected.width)
    smaller = got.width < expected.width and got.height < expected.height
    if abs(ratio - 1) > _ASPECT or smaller:
        what = "image size" if smaller else "aspect of its images"
        raise SpecMismatch(
            f"camera {name!r}, {what}",
            f"{expected.width} x {expected.height}, or larger with that aspect",
            f"{got.width} x {got.height}",
            f"Set width = {expected.width} and height = {expected.height} in "
            f"[cameras.{name}.options], or another size of that aspect.",
        )


def _shrunk(got: CameraParameters, to: CameraParameters) -> CameraParameters:
    """The same lens in pixels of the other's size; pixel centres are whole numbers."""
    x, y = to.width / got.width, to.height / got.height
    return replace(
        got, width=to.width, height=to.height, fx=got.fx * x, fy=got.fy * y,
        cx=(got.cx + 0.5) * x - 0.5, cy=(got.cy + 0.5) * y - 0.5,
    )  # fmt: skip


def stood(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file states of a camera, T_hand_camera and hand_frame as T_base_camera and
    base_frame: to a camera on the hand, the hand is its base.

    Raises SpecMismatch; its `what` is the entry and its `todo` the sentence to print.
    """
    made = dict(values)
    for key, other in (("T_hand_camera", "T_base_camera"), ("hand_frame", "base_frame")):
        if key in made and other in made:
            raise SpecMismatch(
                key, "one of the two", f"{other} too",
                f"{other} is there too. A camera either stands (T_base_camera, base_frame) or is "
                "on the hand (T_hand_camera, hand_frame).",
            )  # fmt: skip
    if "hand_frame" in made and "T_hand_camera" not in made:
        raise SpecMismatch("hand_frame", "T_hand_camera", "none", "expected T_hand_camera with it.")
    if "T_hand_camera" in made:
        made["base_frame"] = made.pop("hand_frame", "hand")
        made["T_base_camera"] = made.pop("T_hand_camera")
    return made
