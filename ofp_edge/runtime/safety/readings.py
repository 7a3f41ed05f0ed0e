"""A judge of which robot states are believed: by their stamps, by their form, and by how far the
robot can have come since the ones before.

    t_ns    |--- max_state_age_ms ---|- now -|-- one period --|       outside: stop
    values  |x - last x| <= physical_speed * max(t - last t, one period)

An impossible reading is bridged: limits and policy use the last possible one, for at most
`max_bridged_ticks` ticks in a row, and never for longer than `max_state_age_ms` since its stamp.
Bridging needs two earlier readings that agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofp_edge.rig.safety import SafetyEntry, is_cartesian
from ofp_edge.runtime.robot import RobotState
from ofp_edge.spec import PolicySpec

_HAIR = 1e-6  # relative, for float32 readings


@dataclass(frozen=True)
class _Part:
    """The values of a state field that an entry of the rig uses."""

    entry: str
    name: str
    part: slice
    speed: float | None  # per second
    vector: bool


class Readings:
    """A judge of each of the robot's states. It has no clock: its callers pass `read_ns` and
    `now_ns`.

    `believed` is the newest possible state, None before the first. `bridged` counts how many were
    not believed so far.
    """

    def __init__(self, spec: PolicySpec, entry: SafetyEntry) -> None:
        self.believed: RobotState | None = None
        self.bridged = 0
        self._entry, self._dt_ns = entry, spec.dt_ns
        self._parts = _parts(spec, entry)
        self._moving = [part for part in self._parts if part.speed is not None]
        self._heard: RobotState | None = None
        self._read_ns: int | None = None
        self._agree = self._in_a_row = 0
        self._fault = ""

    def hear(self, state: RobotState, read_ns: int | None) -> None:
        """Take in the robot's newest state. `read_ns` is when it was read, where that is not the
        tick."""
        self._heard, self._read_ns = state, read_ns
        self._fault = self._fault or _malformed(state, self._parts)
        if self._fault:
            return
        if leap := self._leap(state):
            self._in_a_row += 1
            self.bridged += 1
            if self._agree < 2 or self._in_a_row > self._entry.max_bridged_ticks:
                self._fault = (
                    f"{leap} ({self._in_a_row} in a row; max_bridged_ticks = "
                    f"{self._entry.max_bridged_ticks})"
                )
            return
        before, self._in_a_row = self.believed, 0
        self._agree += self._agree == 0 or before is None or state.t_ns != before.t_ns
        self.believed = state

    def forget(self) -> None:
        """Forget the readings, because the robot may have been put elsewhere: the next one is
        compared with none before."""
        self._agree = self._in_a_row = 0

    def trouble(self, now_ns: int) -> str:
        """Return why not to go on, or nothing."""
        if self._fault or self._heard is None:
            return self._fault
        at_ns = now_ns if self._read_ns is None else max(now_ns, self._read_ns)
        age_ms, period_ms = (at_ns - self._heard.t_ns) / 1e6, self._dt_ns / 1e6
        if age_ms > self._entry.max_state_age_ms:
            return (
                f"the robot has not answered for {age_ms:.0f} ms "
                f"(max_state_age_ms = {self._entry.max_state_age_ms:g})"
            )
        if self.believed is not None:
            believed_ms = (at_ns - self.believed.t_ns) / 1e6
            if believed_ms > self._entry.max_state_age_ms:
                return (
                    f"the last state of the robot that can be true is {believed_ms:.0f} ms old "
                    f"(max_state_age_ms = {self._entry.max_state_age_ms:g})"
                )
        if age_ms < -period_ms:
            return (
                f"the robot's state is stamped {-age_ms:.0f} ms ahead of the clock, more than a "
                f"control step of {period_ms:g} ms: its t_ns must be time.monotonic_ns()'s"
            )
        return ""

    def _leap(self, state: RobotState) -> str:
        """Return how the robot would have had to move to be there, where it cannot have moved
        so."""
        before = self.believed
        if before is None or self._agree == 0:
            return ""
        elapsed_s = max(abs(state.t_ns - before.t_ns), self._dt_ns) / 1e9
        for each in self._moving:
            assert each.speed is not None
            new, old = state.values[each.name][each.part], before.values[each.name][each.part]
            way = new.astype(np.float64) - old
            size = math.sqrt(way @ way) if each.vector else float(np.abs(way).max())
            if size > each.speed * elapsed_s * (1 + _HAIR):
                return (
                    f"{each.name} moved by {size:.4g} in {elapsed_s * 1e3:.0f} ms, which can't be "
                    f"({each.entry} physical_speed = {each.speed:g})"
                )
        return ""


def _parts(spec: PolicySpec, entry: SafetyEntry) -> tuple[_Part, ...]:
    parts = []
    for field in spec.actions:
        limits, first = entry.limits_of(field), entry.limits_of(field).measured_offset
        if limits.measured is not None:
            part = slice(first, first + field.shape[0])
            parts.append(
                _Part(
                    f"[safety.limits.{field.name}]",
                    limits.measured,
                    part,
                    limits.physical_speed,
                    is_cartesian(field),
                )
            )
    if (box := entry.workspace) is not None:
        part = slice(0, len(box.low))
        parts.append(_Part("[safety.workspace]", box.measured, part, box.physical_speed, True))
    return tuple(parts)


def _malformed(state: RobotState, parts: tuple[_Part, ...]) -> str:
    """Return what is wrong with a state by itself."""
    stamp = state.t_ns
    if not isinstance(stamp, (int, np.integer)) or isinstance(stamp, bool):
        return f"the robot's state: t_ns: expected whole nanoseconds, got {stamp!r}"
    for name, values in state.values.items():
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
            return f"the robot's state {name!r}: expected an array of numbers, got {values!r}"
        if not np.isfinite(values).all():
            return f"the robot's state {name!r} is not finite"
    for each in parts:
        found: NDArray[np.float32] | None = state.values.get(each.name)
        if found is None or found.ndim != 1 or len(found) < each.part.stop:
            got = f"none; it says {sorted(state.values)}" if found is None else found.shape
            return (
                f"the robot's state: {each.name!r}: expected {each.part.stop} values or more for "
                f"{each.entry}, got {got}"
            )
    return ""
