"""Where a harder limit lies right at a command, so that a softer one has to give way to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.attack.scenario import Part

Array = NDArray[np.float64]
Axes = NDArray[np.bool_]
_NEAR = 1e-3


@dataclass(frozen=True)
class Step:
    """One command. raw: as it was sent; before, x: its place before and after, of a velocity or a
    delta the robot's; v_before, v: how fast; place: where the robot is. hair: rounding of v."""

    raw: NDArray[np.float32]
    before: Array | None
    x: Array
    v_before: Array
    v: Array
    place: Array | None
    holding: bool
    hair: float


class Walls:
    """Of one part. Each method says for which axes; of a vector for all of them or none."""

    def __init__(self, part: Part, dt_s: float) -> None:
        self.part, self.dt_s = part, dt_s
        action, size = part.action, part.size
        raw = np.array([action.low, action.high], np.float32).astype(np.float64)
        self.ends: tuple[Array, ...] = tuple(np.sort(raw * action.scale, axis=0))
        low, high = np.full(size, -np.inf), np.full(size, np.inf)
        if "position_low" in part.limits:
            low, high = (np.array(part.limits[k]) for k in ("position_low", "position_high"))
        if action.kind == "absolute":
            low, high = np.maximum(low, self.ends[0]), np.minimum(high, self.ends[1])
        self.box = low, high

    def any(self, step: Step) -> Axes:
        """What takes away at once, whatever acceleration and jerk may be: an edge, a lead, the end
        of a range, and the rest that a hold comes to."""
        found = self.lead(step) | self.edge(step) | self._rest(step)
        if self.part.action.kind != "absolute":
            ends = [np.float32(x) for x in (self.part.action.low, self.part.action.high)]
            found |= self._alike((step.raw == ends[0]) | (step.raw == ends[1]))
        return found

    def velocity(self, step: Step) -> Axes:
        """It goes as fast as it may."""
        most = self.part.max_velocity
        if most is None:
            return np.zeros(self.part.size, bool)
        speed = np.linalg.norm(step.v) if self.part.is_point else np.abs(step.v)
        return self._alike(speed > most * (1 - _NEAR) - step.hair)

    def lead(self, step: Step) -> Axes:
        """It leads as far as it may, or further: as far as the command before."""
        most = self.part.limits.get("max_lead")
        if most is None or step.place is None or self.part.action.kind != "absolute":
            return np.zeros(self.part.size, bool)
        away = step.x - step.place
        length = np.linalg.norm(away) if self.part.is_point else np.abs(away)
        return self._alike(length > most * (1 - _NEAR) - step.hair * self.dt_s)

    def edge(self, step: Step) -> Axes:
        """It goes as fast towards an edge as it may, to be at rest there; or is at it."""
        if step.before is None:
            return np.zeros(self.part.size, bool)
        low, high = self.box
        found = np.zeros(self.part.size, bool)
        for speed, gap in ((step.v, high - step.before), (-step.v, step.before - low)):
            found |= speed > self._fastest(gap) * (1 - _NEAR) - step.hair
        return self._alike(found)

    def _rest(self, step: Step) -> Axes:
        """A hold gets no faster and does not pass rest."""
        at_rest, no_faster = np.abs(step.v), np.abs(step.v - step.v_before)
        return self._alike((np.minimum(at_rest, no_faster) <= step.hair) & step.holding)

    def _fastest(self, gap: Array) -> Array:
        """The largest speed from which it comes to rest within `gap`, by halving."""
        room = np.clip(gap, 0.0, 1e6)
        most = self.part.limits.get("max_acceleration")
        if most is None:
            return room / self.dt_s
        loss = most * self.dt_s / (np.sqrt(self.part.size) if self.part.is_point else 1.0)
        slow, fast = np.zeros_like(room), room / self.dt_s
        for _ in range(50):
            middle = (slow + fast) / 2
            n = np.floor(middle / loss)  # full steps of ever less speed after the first
            way = self.dt_s * ((n + 1) * middle - loss * n * (n + 1) / 2)
            slow, fast = np.where(way <= room, middle, slow), np.where(way > room, middle, fast)
        return slow

    def _alike(self, axes: Axes) -> Axes:
        if self.part.is_point:
            return np.full(self.part.size, bool(np.any(axes)))
        return np.broadcast_to(axes, (self.part.size,)).copy()
