"""Turn a depth image into a fixed number of points in the robot's frame: the one implementation.

For a fixed camera the crop box is, pixel by pixel, an interval of depth: a ray meets the box
between two distances that never change. They are computed once; each frame is then cropped by two
comparisons of integers, and only the points that are kept are deprojected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import SpecMismatch

_MAX_RAW = 65535.0
_ON_THE_FACE = 1e-6  # raw depth units: a point on a face of the box is inside


class PointCloud:
    """Crops, subsamples and deprojects depth frames of one camera.

    box_low, box_high: (3,) metres in the camera's base frame. n_points: N, the points returned.
    Subsampling takes every m/N-th of the m pixels inside the box in row order (points repeat when
    m < N), so equal frames give equal points. Not thread-safe: buffers are reused.
    """

    def __init__(
        self,
        parameters: CameraParameters,
        box_low: tuple[float, ...],
        box_high: tuple[float, ...],
        n_points: int,
    ) -> None:
        self.parameters = parameters
        self.n_points = n_points
        p = parameters
        u, v = np.meshgrid(np.arange(p.width), np.arange(p.height))
        optical = np.stack([(u - p.cx) / p.fx, (v - p.cy) / p.fy, np.ones_like(u, dtype=float)])
        # One raw depth unit along each pixel's ray, in the base frame: (3, H*W).
        rays = (p.pose[:3, :3] @ optical.reshape(3, -1)) * p.depth_unit_m
        origin = p.pose[:3, 3:]
        with np.errstate(divide="ignore", invalid="ignore"):
            a = (np.asarray(box_low)[:, None] - origin) / rays
            b = (np.asarray(box_high)[:, None] - origin) / rays
        # A ray parallel to a face gives +-inf (never limiting, or never inside); 0/0 is on it.
        near = np.nan_to_num(np.minimum(a, b), nan=-np.inf).max(axis=0)
        far = np.nan_to_num(np.maximum(a, b), nan=np.inf).min(axis=0)
        near = np.maximum(np.ceil(near - _ON_THE_FACE), 1.0)  # raw 0 means "no depth"
        far = np.minimum(np.floor(far + _ON_THE_FACE), _MAX_RAW)
        self._pixels = np.flatnonzero(near <= far)
        self._near = near[self._pixels].astype(np.uint16)
        self._span = (far - near)[self._pixels].astype(np.uint16)
        self._rays = np.ascontiguousarray(rays[:, self._pixels], dtype=np.float32)
        self._origin = origin.astype(np.float32)
        self._pick = np.arange(n_points, dtype=np.int64)
        centre = (np.asarray(box_low) + np.asarray(box_high)) / 2
        self._nothing = np.broadcast_to(centre[:, None], (3, n_points)).astype(np.float32)

    def __call__(
        self, depth: NDArray[np.uint16], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Turn raw depth (H, W) uint16 into points (3, N) float32, metres in the base frame.

        Writes into `out` if given. A frame with nothing inside the box gives N copies of the box's
        centre. Raises SpecMismatch when the frame is of another size or type.
        """
        p = self.parameters
        if depth.shape != (p.height, p.width) or depth.dtype != np.uint16:
            got = f"{depth.shape} {depth.dtype}"
            raise SpecMismatch("depth frame", f"({p.height}, {p.width}) uint16", got)
        if out is None:
            out = np.empty((3, self.n_points), dtype=np.float32)
        raw = depth.reshape(-1)[self._pixels]
        # uint16 subtraction wraps below `near`, so one comparison tests both bounds.
        inside = np.flatnonzero((raw - self._near) <= self._span)
        if inside.size == 0:
            out[:] = self._nothing
            return out
        kept = inside[(self._pick * inside.size) // self.n_points]
        np.multiply(self._rays[:, kept], raw[kept].astype(np.float32), out=out)
        out += self._origin
        return out
