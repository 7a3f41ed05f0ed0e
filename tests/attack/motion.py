"""One part's limits, held against its commands: range, velocity, acceleration, jerk, lead, box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.events import Command
from tests.attack.broken import Broken
from tests.attack.scenario import Part, Scenario

Array = NDArray[np.float64]
_ROUNDING = 2.0**-23


class Motion:
    """Of the commands of one part since the episode began."""

    def __init__(self, scenario: Scenario, part: Part) -> None:
        self.part, self.dt_s = part, 1 / scenario.spec.control_hz
        self._range = [np.float32(x) for x in (part.action.low, part.action.high)]
        self.begin()

    def begin(self) -> None:
        """It is at rest, wherever it is."""
        still = np.zeros(self.part.size)
        self._x: Array | None = None
        self._v, self._a = still, still
        self._was_free = False

    def check_first(self, wanted: NDArray[np.float32], place: Array | None) -> None:
        """The first target is near where the robot is, or the robot is stopped."""
        most = self.part.limits.get("max_first_step")
        if most is None or place is None:
            return
        move = self._velocity(wanted, place)[1] * self.dt_s
        if self.part.length(move) > most * (1 + 1e-4):
            raise Broken(
                "first step", f"{self.part.name}: {self.part.length(move):g}, limit {most:g}"
            )

    def check(self, action: NDArray[np.float32], command: Command, place: Array | None) -> None:
        """One command that was sent. place: where the robot is, None where that is not known."""
        raw = action[self.part.columns]
        low, high = self._range
        edge = _ROUNDING * np.maximum(np.abs(low), np.abs(high))
        if (raw < low - edge).any() or (raw > high + edge).any():
            raise Broken("range", f"{self.part.name}: {raw}, range {low} .. {high}")
        x, v = self._velocity(action, place)
        a = (v - self._v) / self.dt_s
        # Rounding of the positions themselves, which every difference multiplies.
        hair = 4 * _ROUNDING * float(np.abs(self._hairs(x, action)).max() + 1e-6)
        self._rate("max_velocity", v, hair)
        walled = self._at_a_wall(x, raw, place)
        self._rate("max_acceleration", a, 2 * hair / self.dt_s, walled)
        fastest = self.part.max_velocity
        free = walled or (fastest is not None and self.part.length(v) > 0.98 * fastest)
        free = free or bool(((raw <= low + edge) | (raw >= high - edge)).any())
        if not self._was_free:  # what a harder limit took away at once is over a step later
            self._rate("max_jerk", (a - self._a) / self.dt_s, 4 * hair / self.dt_s**2, free)
        self._was_free = free
        self._check_lead(x, place)
        self._check_box(x, place)
        self._x, self._v, self._a = x, v, a

    def _velocity(self, action: NDArray[np.float32], place: Array | None) -> tuple[Array, Array]:
        """(where it is told to be, how fast it is told to go), in the part's unit."""
        value = action[self.part.columns].astype(np.float64) * self.part.action.scale
        kind = self.part.action.kind
        if kind == "absolute":
            if self._x is not None:
                return value, (value - self._x) / self.dt_s
            start = value if place is None else place
            ends = np.sort(
                np.multiply([self.part.action.low, self.part.action.high], self.part.action.scale),
                axis=0,
            )
            # A robot outside of its commands' range can't be told where it is.
            return value, (value - np.clip(start, *ends)) / self.dt_s
        v = value if kind == "velocity" else value / self.dt_s
        return np.full(self.part.size, np.nan) if place is None else place + v * self.dt_s, v

    def _hairs(self, x: Array, action: NDArray[np.float32]) -> Array:
        """What a rounding error of float32 is relative to, as a velocity."""
        value = action[self.part.columns].astype(np.float64) * self.part.action.scale
        return value if self.part.action.kind == "velocity" else value / self.dt_s

    def _rate(self, name: str, value: Array, hair: float, free: bool = False) -> None:
        most = self.part.max_velocity if name == "max_velocity" else self.part.limits.get(name)
        if most is not None and not free and self.part.length(value) > most * (1 + 1e-3) + hair:
            raise Broken(name, f"{self.part.name}: {self.part.length(value):g}, limit {most:g}")

    def _at_a_wall(self, x: Array, raw: NDArray[np.float32], place: Array | None) -> bool:
        """Whether a harder limit (lead, box, range) is where the command lies: it wins."""
        absolute = self.part.action.kind == "absolute"
        lead = self.part.limits.get("max_lead")
        if lead is not None and place is not None and absolute:
            if self.part.length(x - place) > 0.98 * lead:
                return True
        low, high = self._box()
        near = 1e-4 * self.part.reach
        return bool(((x <= low + near) | (x >= high - near)).any())

    def _box(self) -> tuple[Array, Array]:
        """Of its place: the rig's box and, of an absolute field, the policy's range."""
        action, size = self.part.action, self.part.size
        low, high = np.full(size, -np.inf), np.full(size, np.inf)
        if "position_low" in self.part.limits:
            low, high = (np.array(self.part.limits[k]) for k in ("position_low", "position_high"))
        if action.kind == "absolute":
            ends = np.sort(np.multiply([action.low, action.high], action.scale), axis=0)
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
        return low, high

    def _check_lead(self, x: Array, place: Array | None) -> None:
        """No target leads further than it may, or further than the one before did."""
        lead = self.part.limits.get("max_lead")
        if lead is None or place is None or self.part.action.kind != "absolute":
            return
        away = self.part.length(x - place)
        before = self.part.length((place if self._x is None else self._x) - place)
        low, high = self._box()  # which wins: of a robot that is outside, by more than the lead
        before = max(before, self.part.length(np.clip(place, low, high) - place))
        if away > lead * (1 + 1e-3) + 1e-5 and away > before + 1e-5:
            raise Broken("max_lead", f"{self.part.name}: {away:g}, limit {lead:g}")

    def _check_box(self, x: Array, place: Array | None) -> None:
        """Not out of it; what is outside already goes no further."""
        if np.isnan(x).any():
            return
        low, high = self._box()
        absolute = self.part.action.kind == "absolute"
        before = self._x if absolute and self._x is not None else place
        before = x if before is None else before
        over = np.maximum(x - np.maximum(high, before), np.minimum(low, before) - x)
        if over.max() > 1e-5 * (1 + np.abs(x).max()):
            raise Broken("box", f"{self.part.name}: {x} leaves {low} .. {high}")
