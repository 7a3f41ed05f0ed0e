"""The limits of one action field: where it may go, how fast, and how suddenly.

The reference is the last command sent: noise of the encoders would make velocities and
accelerations of measured positions useless. It begins at the measured position, at rest, and is
tied to it all the time by `max_lead`; boxes of velocities and deltas are held against it directly.

    absolute   x = raw * scale               v = (x - last x) / dt     range: a box, of x
    velocity   v = raw * scale               x = measured + v dt       range: of v
    delta      v = raw * scale / dt          x = measured + v dt       range: of v

The limits are applied from the softest to the hardest, so that each wins over those before it:
jerk, acceleration, velocity, box, lead. A box is braked before, at the limit of acceleration, so an
absolute command keeps both: nobody but the limiter moves its x. A lead only ever shortens a step: a
wrong measured position can stop it, and never move it. The range of a velocity or a delta comes
last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ofp_edge.rig.safety import FieldLimits, is_cartesian
from ofp_edge.runtime.safety.braking import fastest, share_within
from ofp_edge.spec import ActionField
from ofp_edge.unit_text import stated

Array = NDArray[np.float64]
_HAIR = 1e-6  # relative: float32 actions are not distinguished from their float64 selves
_FAR, _TINY = 1e12, 1e-300  # stand for a wall that is not there and for a vector without length
_SOFT = ("jerk", "acceleration", "velocity")


class FieldLimiter:
    """A limiter of the commands of one field, tick after tick. Nothing here reads a clock."""

    def __init__(self, field: ActionField, limits: FieldLimits, dt_s: float) -> None:
        self.field, self.limits, self._dt_s = field, limits, dt_s
        self._vector = is_cartesian(field)
        self._absolute = field.kind == "absolute"
        size = field.shape[0]
        raw_ends = np.array([field.low, field.high], np.float32).astype(np.float64)
        ends = np.sort(raw_ends * field.scale, axis=0)  # what float32 commands are held against
        low = np.asarray(limits.position_low or (-_FAR,) * size, np.float64)
        high = np.asarray(limits.position_high or (_FAR,) * size, np.float64)
        if self._absolute:
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
        self._low, self._high = np.clip(low, -_FAR, _FAR), np.clip(high, -_FAR, _FAR)
        self._ends = ends
        stay = (field.hold or 0.0) * field.scale  # which a velocity or a delta can always say
        speeds = np.minimum(ends[0], stay), np.maximum(ends[1], stay)
        self._slowest, self._fastest = (x if field.kind == "velocity" else x / dt_s for x in speeds)
        self._most_change = (limits.max_acceleration or math.inf) * dt_s
        # Each axis of a vector has its share, so that all of them can brake together.
        share = math.sqrt(size) if self._vector else 1.0
        self._brake = None if limits.max_acceleration is None else self._most_change * dt_s / share
        self._steps = self._wanted_steps()
        self._still, self._nowhere = np.zeros(size), np.zeros(size, bool)
        self.forget()

    def forget(self) -> None:
        """Begin again from where the robot is, at rest."""
        self._x: Array | None = None
        self._v, self._a = self._still, self._still
        self._first, self._holding = True, False
        self.keep()

    def keep(self) -> None:
        """Remember the state before a command, so that the command can be taken back."""
        self._kept = self._x, self._v, self._a, self._first

    def take_back(self) -> None:
        """Take the last command back, because it was not sent: the robot has the one before it."""
        self._x, self._v, self._a, self._first = self._kept

    def stood_still(self) -> None:
        """Pass a control step without a command: a target stood still, a velocity stayed what it
        was."""
        if self.field.kind != "velocity":
            self._v = self._still
        self._a = self._still

    def begin(self, raw: NDArray[np.float32], measured: Array | None) -> str:
        """Return why the first action of an episode may not be sent, or nothing; later actions
        always may."""
        if not self._first:
            return ""
        self._first = False
        if measured is None:
            return ""
        limits, unit = self.limits, f" {stated(self.field.unit)}".rstrip()
        value = raw.astype(np.float64) * self.field.scale
        if (most := limits.max_first_step) is not None:
            if self._absolute:
                away = self._size(value - measured)
            else:
                away = self._size(value * self._dt_s if self.field.kind == "velocity" else value)
            if away > most:
                return (
                    f"the first command for {self.field.name} is {away:.4g}{unit} from where the "
                    f"robot is (max_first_step = {most:g})"
                )
        if self._absolute and limits.max_velocity is not None:
            beyond = measured - np.clip(measured, *self._ends)
            out = self._size(beyond)
            if out > (1 + _HAIR) * limits.max_velocity * self._dt_s:
                one = self._vector or len(beyond) == 1
                which = "" if one else f"[{int(np.abs(beyond).argmax())}]"
                return (
                    f"{self.field.name}{which} is {out:.4g}{unit} outside the range of its "
                    f"commands, further than max_velocity = {limits.max_velocity:g} goes in a "
                    "control step. Move it there first"
                )
        return ""

    def limit(
        self, raw: NDArray[np.float32], measured: Array | None, holding: bool
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Return what may be sent (D,) in place of `raw`, and the names of the limits that changed
        it.

        `measured` is the field's measured position, in its unit; None where none is known.
        """
        if not self._steps:
            return raw, []
        value = raw.astype(np.float64) * self.field.scale
        cut = self._start(value, measured) if self._absolute and self._x is None else []
        self._holding, self._rested = holding, self._nowhere
        soft = v = self._velocity(value)
        for name, limited in self._steps:
            before = v
            v = limited(v, measured)
            if v is not before and (np.abs(v - before) > _HAIR * (1 + np.abs(before))).any():
                cut.append(name)
            if name in _SOFT:
                soft = v
        changed = bool(cut)
        if holding:
            cut = []  # coming to rest within the limits is what a hold is
        return self._sent(raw, v, soft, changed), cut

    def ahead(self, raws: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Return what `limit` would give for commands to come, without a measurement; nothing
        changes."""
        if not self._steps or (self._absolute and self._x is None):
            return list(raws)
        before = self._x, self._v, self._a
        found = [self.limit(raw, None, False)[0] for raw in raws]
        self._x, self._v, self._a = before
        return found

    def _wanted_steps(self) -> list[tuple[str, Callable[[Array, Array | None], Array]]]:
        """Yield (name, limit) for the limits that there are, from the softest to the hardest."""
        limits, absolute = self.limits, self._absolute
        boxed = limits.position_low is not None
        rates = (limits.max_jerk, limits.max_acceleration, limits.max_velocity, limits.max_lead)
        tracked = any(rate is not None for rate in rates)
        steps: list[tuple[str, Callable[[Array, Array | None], Array], bool]] = [
            ("jerk", self._smoother, limits.max_jerk is not None),
            ("acceleration", self._softer, limits.max_acceleration is not None),
            ("velocity", self._slower, limits.max_velocity is not None),
            ("position" if boxed else "range", self._inside, boxed or (absolute and tracked)),
            ("lead", self._near, limits.max_lead is not None and absolute),
            ("range", self._ranged, tracked and not absolute),
        ]
        return [(name, limited) for name, limited, wanted in steps if wanted]

    def _start(self, value: Array, measured: Array | None) -> list[str]:
        """Return where the commands of an absolute field begin: where the robot is, or at the
        range's edge."""
        here = value if measured is None else measured
        self._x = np.clip(here, *self._ends)
        return ["range"] if (self._x != here).any() else []

    def _velocity(self, value: Array) -> Array:
        if self._x is not None:
            return (value - self._x) / self._dt_s
        return value if self.field.kind == "velocity" else value / self._dt_s

    def _sent(
        self, raw: NDArray[np.float32], v: Array, soft: Array, changed: bool
    ) -> NDArray[np.float32]:
        self._a, self._v = (v - self._v) / self._dt_s, v
        # What a wall or rest took away at once is over: carried on, it would be a step back.
        if v is not soft:
            self._a = np.where(v == soft, self._a, 0.0)
        if self._holding:
            self._a = np.where(self._rested, 0.0, self._a)
        if self._x is not None:
            self._x = self._x + v * self._dt_s
        if not changed:
            return raw
        if self._x is not None:
            value = self._x
        else:
            value = v if self.field.kind == "velocity" else v * self._dt_s
        sent: NDArray[np.float32] = (value / self.field.scale).astype(np.float32)
        return sent

    def _size(self, value: Array) -> float:
        return math.sqrt(value @ value) if self._vector else float(np.abs(value).max())

    def _no_more_than(self, value: Array, most: float) -> Array:
        """Return `value` itself where it is within the limit."""
        if self._vector:
            size = math.sqrt(value @ value)
            return value * (most / size) if size > most else value
        return value if (np.abs(value) <= most).all() else np.clip(value, -most, most)

    def _slower(self, v: Array, measured: Array | None) -> Array:
        assert self.limits.max_velocity is not None
        return self._no_more_than(v, self.limits.max_velocity)

    def _softer(self, v: Array, measured: Array | None) -> Array:
        change = v - self._v
        less = self._no_more_than(change, self._most_change)
        return v if less is change else self._v + less

    def _smoother(self, v: Array, measured: Array | None) -> Array:
        """Limit the acceleration and lessens it in time, so that v arrives where it should, and
        not beyond."""
        assert self.limits.max_jerk is not None
        dt, most = self._dt_s, self.limits.max_jerk * self._dt_s
        change = v - self._v
        more = change / dt - self._a
        if (less := self._no_more_than(more, most)) is more:
            return v
        length = np.full_like(v, math.sqrt(change @ change)) if self._vector else np.abs(change)
        way = np.minimum(length / dt, fastest(length, most * dt, dt))
        goal = change * (way / np.maximum(length, _TINY))
        smooth = self._v + (self._a + self._no_more_than(goal - self._a, most)) * dt
        if self._holding:  # never away from rest, nor past it
            within = np.clip(smooth, np.minimum(self._v, v), np.maximum(self._v, v))
            smooth, self._rested = within, smooth != within
        return smooth if self._vector else np.where(less == more, v, smooth)

    def _inside(self, v: Array, measured: Array | None) -> Array:
        """Keep a place in the box; one that is outside may come back, and go no further."""
        x = self._x if self._absolute else measured
        if x is None:
            return v
        up, down = self._high - x, x - self._low
        most = fastest(np.where(v > 0.0, up, down), self._brake, self._dt_s)
        if (np.abs(v) <= most).all():
            return v
        wanted = np.minimum(np.maximum(v, -most), most)
        if self._brake is None or not self._vector:
            return wanted
        # The walls' axes brake first; what the acceleration has left is for the others.
        most_up, most_down = (fastest(gap, self._brake, self._dt_s) for gap in (up, down))
        need = np.clip(0.0, -most_down - self._v, most_up - self._v)
        rest = wanted - self._v - need
        braked: Array = self._v + need + share_within(need, rest, self._most_change) * rest
        return braked

    def _ranged(self, v: Array, measured: Array | None) -> Array:
        """Keep a velocity or a delta within what may be sent."""
        within = (v >= self._slowest).all() and (v <= self._fastest).all()
        return v if within else np.clip(v, self._slowest, self._fastest)

    def _near(self, v: Array, measured: Array | None) -> Array:
        """Shorten the step to end within the lead; outside the lead, to lead no further."""
        if measured is None:
            return v
        assert self.limits.max_lead is not None and self._x is not None
        ahead, step, most = self._x - measured, v * self._dt_s, self.limits.max_lead
        if self._size(ahead + step) <= most:
            return v
        if self._vector:
            return v * share_within(ahead, step, max(most, self._size(ahead)))
        end = ahead + step
        inside = np.clip(end, np.minimum(ahead, -most), np.maximum(ahead, most))
        shorter: Array = np.where(inside == end, v, (inside - ahead) / self._dt_s)
        return shorter
