"""A depth camera's parameters (pinhole intrinsics, depth unit, pose), and how far two differ."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch
from ofp_edge.pose import checked_pose, distance
from ofp_edge.strict import read_as, shown

_WIDEST = 1 << 15
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

    def require(self, name: str, expected: CameraParameters, got: CameraParameters) -> None:
        """Raise SpecMismatch with the figures of the first quantity that is too far off."""
        size = (expected.width, expected.height), (got.width, got.height)
        if size[0] != size[1]:
            raise SpecMismatch(f"camera {name!r}, image size", size[0], size[1])
        checks = (
            ("depth unit, m", expected.depth_unit_m, got.depth_unit_m, 1e-9),
            ("fx, px", expected.fx, got.fx, expected.fx * self.focal_percent / 100),
            ("fy, px", expected.fy, got.fy, expected.fy * self.focal_percent / 100),
            ("cx, px", expected.cx, got.cx, self.centre_px),
            ("cy, px", expected.cy, got.cy, self.centre_px),
        )
        for what, want, have, limit in checks:
            if abs(want - have) > limit:
                raise SpecMismatch(f"camera {name!r}, {what}", f"{want:g} within {limit:g}", have)
        if expected.base_frame != got.base_frame:
            raise SpecMismatch(f"camera {name!r}, frame", expected.base_frame, got.base_frame)
        away_mm, away_deg = distance(expected.pose, got.pose)
        if away_mm > self.position_mm or away_deg > self.rotation_deg:
            raise SpecMismatch(
                f"camera {name!r}, pose",
                f"within {self.position_mm:g} mm and {self.rotation_deg:g} deg",
                f"{away_mm:.1f} mm and {away_deg:.2f} deg away",
            )
