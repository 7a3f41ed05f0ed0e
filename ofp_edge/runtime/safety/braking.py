"""How fast something may go and still come to rest in time, in whole control steps.

A speed v is kept for one step of dt, then lessened by a dt at each step. The way is

    D(v) = dt (v + (v - a dt) + (v - 2 a dt) + ...)     as long as the terms are positive

Continuous braking, sqrt(2 a gap), allows more than that: the last step would end in the wall.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_HAIR = 1e-9  # relative: a start on the sphere is within it


def fastest(gap: Array, brake: float | None, dt_s: float) -> Array:
    """Return the largest v >= 0 with D(v) <= gap.

    `gap` is in metres or whatever the unit is; below 0 there is no room, as at 0. `brake` is a
    dt^2, which a step loses of its length from one to the next; with None it may end at once.
    """
    room = np.maximum(gap, 0.0)
    if brake is None:
        return room / dt_s
    # n more steps after this one: n (n + 1) / 2 <= room / brake. A wrong n beside it is as good:
    # there both give the same.
    n = np.floor(np.sqrt(0.25 + 2.0 * room / brake) - 0.5)
    speed: Array = (room / (n + 1.0) + brake * n / 2.0) / dt_s
    return speed


def share_within(start: Array, step: Array, radius: float) -> float:
    """Return the largest share s of 0..1 with |start + s step| <= radius; 0 where there is
    none."""
    square, along = float(step @ step), float(start @ step)
    beyond = float(start @ start) - radius * radius
    if beyond > _HAIR * radius * radius:
        return 0.0
    if square == 0.0:
        return 1.0
    return min(1.0, (math.sqrt(along * along - square * min(beyond, 0.0)) - along) / square)
