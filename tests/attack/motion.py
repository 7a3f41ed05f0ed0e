"""One part's limits, held against its commands: range, velocity, acceleration, jerk, lead, box."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tests.attack.broken import Broken
from tests.attack.scenario import Part, Scenario
from tests.attack.walls import Step, Walls

Array = NDArray[np.float64]
_ROUNDING = 2.0**-23


@dataclass(frozen=True)
class _Sent:
    """What was sent until now: where and how fast it is told to go; the last step, if any."""

    x: Array | None
    v: Array
    a: Array
    step: Step | None = None


class Motion:
    """Of the commands of one part since the episode began."""

    def __init__(self, scenario: Scenario, part: Part) -> None:
        self.part, self.dt_s = part, 1 / scenario.spec.control_hz
        self._range = [np.float32(x) for x in (part.action.low, part.action.high)]
        self._walls = Walls(part, self.dt_s)
        self._absolute = part.action.kind == "absolute"
        self.begin()

    def begin(self) -> None:
        """It is at rest, wherever it is."""
        still = np.zeros(self.part.size)
        self._sent = self._before = _Sent(None, still, still)

    def take_back(self) -> None:
        """The last command was not sent."""
        self._sent = self._before

    def stood_still(self) -> None:
        """A period has passed without a command: a target stands, a velocity goes on."""
        still = np.zeros(self.part.size)
        v = self._sent.v if self.part.action.kind == "velocity" else still
        self._sent = replace(self._sent, v=v, a=still, step=None)

    def refused_first(self, wanted: NDArray[np.float32], place: Array | None) -> tuple[str, float]:
        """Why the first action may not be sent, and by how many times it is beyond its limit."""
        found = ("", 0.0)
        if place is None:
            return found
        if (most := self.part.limits.get("max_first_step")) is not None:
            value = wanted[self.part.columns].astype(np.float64) * self.part.action.scale
            if self._absolute:
                value = value - place
            elif self.part.action.kind == "velocity":
                value = value * self.dt_s
            found = ("first step", self.part.length(value) / most)
        if self._absolute and (fastest := self.part.max_velocity) is not None:
            out = self.part.length(place - np.clip(place, *self._walls.ends))
            if out / (fastest * self.dt_s) > found[1]:
                found = ("outside", out / (fastest * self.dt_s))
        return found

    def check(self, action: NDArray[np.float32], holding: bool, place: Array | None) -> None:
        """One command that was sent. place: where the robot is, None where that is not known."""
        raw = action[self.part.columns]
        low, high = self._range
        edge = _ROUNDING * np.maximum(np.abs(low), np.abs(high))
        if (raw < low - edge).any() or (raw > high + edge).any():
            raise Broken("range", f"{self.part.name}: {raw}, range {low} .. {high}")
        value, dt = raw.astype(np.float64) * self.part.action.scale, self.dt_s
        before, sent = self._sent.x, self._sent
        if self._absolute:
            if before is None:  # a robot outside of its commands' range can't be told where it is
                before = np.clip(value if place is None else place, *self._walls.ends)
            x, v = value, (value - before) / dt
        else:
            before = place
            v = value if self.part.action.kind == "velocity" else value / dt
            x = np.full(self.part.size, np.nan) if place is None else place + v * dt
        a = (v - sent.v) / dt
        # Rounding of the positions themselves, which every difference multiplies.
        size = value if self.part.action.kind == "velocity" else value / dt
        if self._absolute and before is not None:
            size = np.maximum(np.abs(size), np.abs(before) / dt)
        hair = 4 * _ROUNDING * float(np.abs(size).max() + 1e-6)
        step = Step(raw, before, x, sent.v, v, place, holding, hair)
        self._check_rates(step, a)
        self._check_lead(x, place)
        self._check_box(x, before)
        self._before, self._sent = sent, _Sent(x if self._absolute else None, v, a, step)

    def _check_rates(self, step: Step, a: Array) -> None:
        dt, last = self.dt_s, self._sent
        self._rate("max_velocity", self.part.max_velocity, step.v, step.hair)
        most, hair = self.part.limits.get("max_acceleration"), 2 * step.hair / dt
        if most is not None and self.part.length(a) > most * (1 + 1e-3) + hair:
            free = self._walls.lead(step) | (self._walls.edge(step) & (not self._absolute))
            self._rate("max_acceleration", most, np.where(free, 0.0, a), hair)
        most, hair = self.part.limits.get("max_jerk"), 4 * step.hair / dt**2
        jerk = (a - last.a) / dt
        if most is not None and self.part.length(jerk) > most * (1 + 1e-3) + hair:
            if last.step is not None:  # what a wall took away at once is over a step later
                over = np.where(np.abs(a / dt) < np.abs(jerk), a / dt, jerk)
                jerk = np.where(self._walls.any(last.step), over, jerk)
            free = self._walls.any(step) | self._walls.velocity(step)
            self._rate("max_jerk", most, np.where(free, 0.0, jerk), hair)

    def _rate(self, name: str, most: float | None, value: Array, hair: float) -> None:
        if most is not None and self.part.length(value) > most * (1 + 1e-3) + hair:
            raise Broken(name, f"{self.part.name}: {self.part.length(value):g}, limit {most:g}")

    def _check_lead(self, x: Array, place: Array | None) -> None:
        """No target leads further than it may, or further than the one before did."""
        lead = self.part.limits.get("max_lead")
        if lead is None or place is None or not self._absolute:
            return
        away = self.part.length(x - place)
        before = self.part.length((place if self._sent.x is None else self._sent.x) - place)
        # The range and the box win: of a robot that is outside, by more than the lead.
        before = max(before, self.part.length(np.clip(place, *self._walls.box) - place))
        if away > lead * (1 + 1e-3) + 1e-5 and away > before + 1e-5:
            raise Broken("max_lead", f"{self.part.name}: {away:g}, limit {lead:g}")

    def _check_box(self, x: Array, before: Array | None) -> None:
        """Not out of it; what is outside already goes no further."""
        if np.isnan(x).any():
            return
        low, high = self._walls.box
        before = x if before is None else before
        over = np.maximum(x - np.maximum(high, before), np.minimum(low, before) - x)
        if over.max() > 1e-5 * (1 + np.abs(x).max()):
            raise Broken("box", f"{self.part.name}: {x} leaves {low} .. {high}")
