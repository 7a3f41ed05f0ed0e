"""What cameras see of a painted world: the ray of every pixel meets the plane z = 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.sim.depth import quantise
from ofp_edge.sim.view import View
from ofp_edge.sim.world import PaintedWorld

_RAYS = 3  # along each axis of a pixel, so that edges move by less than one


class PaintedRenderer:
    """Depth and colour by arithmetic, see Renderer. Above the horizon it is black, and depth 0."""

    by = "paint"

    def __init__(self, world: PaintedWorld, view: View) -> None:
        self._world, p = world, view.parameters()
        self._shape = p.height, p.width
        inside = (np.arange(_RAYS) + 0.5) / _RAYS - 0.5
        u = (np.arange(p.width)[:, None] + inside).ravel()
        v = (np.arange(p.height)[:, None] + inside).ravel()
        across, down = np.meshgrid((u - p.cx) / p.fx, (v - p.cy) / p.fy)
        optical = np.stack([across, down, np.ones(across.shape)], axis=-1)
        rays = optical.reshape(-1, 3) @ view.rotation.T  # of one metre of depth
        position = np.asarray(view.position)
        with np.errstate(divide="ignore"):
            depth_m = -position[2] / rays[:, 2]
        self._hits = np.isfinite(depth_m) & (depth_m > 0)
        self._places = (position + depth_m[self._hits, None] * rays[self._hits])[:, :2]
        depth = self._averaged(np.where(self._hits, depth_m, 0.0)[:, None])[..., 0]
        self._depth = quantise(depth, view.depth_unit_m)

    def render(self, color: bool) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
        """Render; see Renderer."""
        if not color:
            return self._depth, None
        rays = np.zeros((len(self._hits), 3), np.float32)
        with self._world.changed:
            rays[self._hits] = self._world.paint(self._places)
        return self._depth, np.rint(self._averaged(rays)).astype(np.uint8)

    def close(self) -> None:
        """Close; see Renderer: nothing is held."""

    def _averaged(self, rays: NDArray[Any]) -> NDArray[Any]:
        """Average values of all rays (N, C) over each pixel: (H, W, C)."""
        height, width = self._shape
        found: NDArray[Any] = rays.reshape(height, _RAYS, width, _RAYS, -1).mean((1, 3))
        return found
