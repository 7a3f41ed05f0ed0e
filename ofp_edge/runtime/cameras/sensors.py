"""What a RealSense device reports about itself: its serial number, both lenses, and how they
stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ofp_edge.lens import Lens
from ofp_edge.pose import Pose, make_pose
from ofp_edge.runtime.cameras.sources import Started


@dataclass(frozen=True, eq=False)
class Sensors:
    """The factory calibration of the streams as they were started; colour's is None without colour.

    `T_color_depth` is the depth sensor's pose in the colour sensor's frame, in metres.
    `depth_unit_m` is the metres of one raw unit.
    """

    serial: str | None
    depth: Lens
    depth_unit_m: float
    color: Lens | None
    T_color_depth: Pose | None


def read_sensors(started: Started) -> Sensors:
    """Read the calibration from the SDK's stream profiles."""
    color = T_color_depth = None
    if started.color is not None:
        color = _lens(started.color.get_intrinsics())
        between = started.depth.get_extrinsics_to(started.color)
        rotation = np.array(between.rotation).reshape(3, 3).T  # the SDK's matrices are column-major
        T_color_depth = make_pose(rotation, between.translation)
    return Sensors(
        started.serial,
        _lens(started.depth.get_intrinsics()),
        started.depth_unit_m,
        color,
        T_color_depth,
    )


def _lens(p: Any) -> Lens:
    model = str(p.model).removeprefix("distortion.")
    coefficients = tuple(float(x) for x in p.coeffs)
    return Lens(p.width, p.height, p.fx, p.fy, p.ppx, p.ppy, model, coefficients)
