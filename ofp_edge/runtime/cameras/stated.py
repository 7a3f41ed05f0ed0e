"""What a rig states of a camera that does not know its own lens, or where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError, SpecMismatch

_NEEDED = ("fx", "fy", "cx", "cy", "T_base_camera")
_PLACE = ("base_frame", "T_base_camera")
_DEPTH_UNIT_M = 0.001


def require_stated(name: str, parameters: Mapping[str, Any], whose: str) -> None:
    """Raise CameraError where the rig states a part of what the camera can't say; whose: "a V4L2
    camera does not". Nothing will do too, where colour images alone are made of it."""
    if not parameters:
        return
    if missing := [key for key in _NEEDED if key not in parameters]:
        raise CameraError(
            f"camera {name!r}: [cameras.{name}.parameters] lacks {', '.join(missing)}: {whose} "
            "know them. State all of it, or nothing where the policy sees images alone."
        )


def stated_parameters(
    name: str, stated: Mapping[str, Any], width: int, height: int
) -> CameraParameters:
    """Return the rig's parameters with the size of the images that come; unknown ones where it
    states nothing. Raises CameraError."""
    if not stated:
        return CameraParameters.unknown(width, height)
    own = {"width": width, "height": height, "depth_unit_m": _DEPTH_UNIT_M, "base_frame": "base"}
    try:
        return CameraParameters.from_json({**own, **stated})
    except (SpecMismatch, TypeError, ValueError) as cause:
        raise CameraError(f"camera {name!r}: {cause} Check its parameters.") from None


def place(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return base_frame and T_base_camera of a camera that knows its lens: an unknown place where
    the rig states none. Raises SpecMismatch for a frame without a pose."""
    if "T_base_camera" in stated:
        return {"base_frame": "base", **{key: stated[key] for key in _PLACE if key in stated}}
    if "base_frame" in stated:
        raise SpecMismatch("base_frame", "T_base_camera with it", "none")
    unknown = CameraParameters.unknown(1, 1)
    return {"base_frame": unknown.base_frame, "T_base_camera": unknown.to_json()["T_base_camera"]}


def no_depth(height: int, width: int) -> NDArray[np.uint16]:
    """Return the depth of a frame without any: unknown everywhere, read-only."""
    depth = np.zeros((height, width), np.uint16)
    depth.flags.writeable = False
    return depth
