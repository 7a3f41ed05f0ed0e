"""The layer between policy and robot, which every command passes, whatever made it. It is not
safety-rated.

It belongs to the state machine and has no clock and no robot; the robot's measurements come in as
values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofp_edge.rig.safety import SafetyEntry
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.field_limiter import FieldLimiter
from ofp_edge.runtime.safety.readings import Readings
from ofp_edge.spec import PolicySpec


@dataclass(frozen=True, eq=False)
class Checked:
    """A command that passed. `cut` names what changed it as "field: limit"; `fault` says why to
    stop instead."""

    action: NDArray[np.float32]
    cut: tuple[str, ...] = ()
    fault: str = ""


class SafetyLayer:
    """A layer that refuses, limits and counts; see ofp_edge/rig/safety.py for the limits.

    The policy's range, within what the robot can be told, comes last: nothing that `check` gives
    out is outside it, except a hold value that is outside itself. `readings` says which of the
    robot's states are believed.
    """

    def __init__(self, spec: PolicySpec, entry: SafetyEntry) -> None:
        self.entry, spec = entry, entry.narrowed(spec)
        self.readings = Readings(spec, entry)
        self._limiters, start = [], 0
        for field in spec.actions:
            part = slice(start, start := start + field.shape[0])
            self._limiters.append((part, FieldLimiter(field, entry.limits_of(field), spec.dt_s)))
        self._low, self._high = action_range(spec)
        self._box = entry.workspace
        if self._box is not None:
            self._box_low, self._box_high = np.array(self._box.low), np.array(self._box.high)
        self._cut_in_a_row = 0

    def measured(self, state: RobotState, read_ns: int | None = None) -> None:
        """Take in the robot's newest state, and when it was read (by default at the tick)."""
        self.readings.hear(state, read_ns)

    def forget(self) -> None:
        """Begin a new episode from where the robot is, at rest."""
        self._cut_in_a_row = 0
        self.readings.forget()
        for _, limiter in self._limiters:
            limiter.forget()

    def stood_still(self) -> None:
        """Record that a control step has passed in which nothing was sent."""
        for _, limiter in self._limiters:
            limiter.stood_still()

    def not_sent(self) -> None:
        """Record that the last command of `check` was not sent; its control step has passed."""
        for _, limiter in self._limiters:
            limiter.take_back()
            limiter.stood_still()

    def trouble(self, now_ns: int) -> str:
        """Return why the robot's own state forbids to go on, or nothing."""
        if why := self.readings.trouble(now_ns):
            return why
        if self._box is not None and (state := self.readings.believed) is not None:
            place = state.values[self._box.measured][: len(self._box_low)]
            if (place < self._box_low).any() or (place > self._box_high).any():
                return (
                    f"{self._box.measured} {np.round(place, 3).tolist()} is outside the workspace"
                )
        return ""

    def check(self, action: NDArray[np.float32], *, holding: bool) -> Checked:
        """Return the command (action_dim,) that may go to the robot."""
        if action.shape != self._low.shape:
            return Checked(
                action, fault=f"an action of shape {action.shape}, not {self._low.shape}"
            )
        if not np.isfinite(action).all():
            return Checked(action, fault="an action that is not finite")
        sent, cut = action.copy(), []
        for part, limiter in self._limiters:
            limiter.keep()
            measured = None
            if (name := limiter.limits.measured) is not None:
                if self.readings.believed is None:
                    return Checked(
                        action,
                        fault=f"the robot has said nothing, and {limiter.field.name} is "
                        f"limited by its {name!r}",
                    )
                first = limiter.limits.measured_offset
                measured = self.readings.believed.values[name][
                    first : first + limiter.field.shape[0]
                ].astype(np.float64)
            if not holding and (why := limiter.begin(action[part], measured)):
                return Checked(action, fault=why)
            sent[part], limits = limiter.limit(action[part], measured, holding)
            cut += [f"{limiter.field.name}: {limit}" for limit in limits]
        inside = np.minimum(np.maximum(sent, self._low), self._high)
        if not (inside == sent).all():
            cut += self._out_of_range(inside != sent, cut)
        self._cut_in_a_row = self._cut_in_a_row + 1 if cut else 0
        if self._cut_in_a_row > self.entry.max_cut_in_a_row:
            return Checked(
                inside,
                tuple(cut),
                f"{self._cut_in_a_row} commands in a row were cut "
                f"({', '.join(cut)}; max_cut_in_a_row = {self.entry.max_cut_in_a_row})",
            )
        return Checked(inside, tuple(cut))

    def foreseen(self, actions: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Return what would be sent of commands to come, one a control step each, if the robot
        follows: within the limits that need no measurement. The layer stays as it is."""
        found = [action.copy() for action in actions]
        for part, limiter in self._limiters:
            for sent, raw in zip(found, limiter.ahead([x[part] for x in actions]), strict=True):
                sent[part] = raw
        return [np.minimum(np.maximum(x, self._low), self._high) for x in found]

    def _out_of_range(self, where: NDArray[np.bool_], cut: list[str]) -> list[str]:
        names = [f"{x.field.name}: range" for part, x in self._limiters if where[part].any()]
        return [name for name in names if name not in cut]


def action_range(spec: PolicySpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the lowest and the highest raw value (action_dim,) that may be sent: the spec's
    range, which for deltas and velocities includes the hold value, because "stay" must be possible.
    """
    low = [min(x, x if f.hold is None else f.hold) for f in spec.actions for x in f.low]
    high = [max(x, x if f.hold is None else f.hold) for f in spec.actions for x in f.high]
    return np.asarray(low, np.float32), np.asarray(high, np.float32)
