"""The two sides of a round obstacle: where a path passes it, and whether it collides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sides:
    """A disc in the plane that paths pass on their left or right, in metres.

    `centre` is (x, y); `forward` is the unit vector along which one passes. "At the obstacle" means
    on the line through the centre, across `forward`.
    """

    centre: tuple[float, float]
    radius_m: float
    forward: tuple[float, float] = (0.0, 1.0)

    def lateral(self, path: NDArray[np.float64]) -> float | None:
        """Return how far to the right of the centre `path` (K, 2) first passes it (negative:
        left).

        Return None when the path does not get so far, or begins past the obstacle.
        """
        along, across = self._along_and_across(path)
        beyond = np.flatnonzero(along >= 0)
        if not len(beyond) or beyond[0] == 0:
            return None
        k = beyond[0]
        part = along[k - 1] / (along[k - 1] - along[k])
        return float(across[k - 1] + part * (across[k] - across[k - 1]))

    def collides(self, path: NDArray[np.float64]) -> bool:
        """Say whether any segment of `path` (K, 2) enters the disc."""
        start, move = path[:-1] - self.centre, np.diff(path, axis=0)
        length = np.maximum((move**2).sum(1), 1e-18)
        nearest = np.clip(-(start * move).sum(1) / length, 0.0, 1.0)
        gap = np.linalg.norm(start + nearest[:, None] * move, axis=1)
        return bool((gap < self.radius_m).any())

    def side(self, path: NDArray[np.float64]) -> int | None:
        """Return -1 for left, +1 for right, 0 when the path collides; None when it does not reach
        the obstacle or is past it."""
        if self._along_and_across(path[:1])[0][0] >= 0:
            return None
        if self.collides(path):
            return 0
        lateral = self.lateral(path)
        return None if lateral is None else 1 if lateral > 0 else -1

    def _along_and_across(
        self, path: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = self.forward
        relative = path - self.centre
        return relative @ np.array([x, y]), relative @ np.array([y, -x])
