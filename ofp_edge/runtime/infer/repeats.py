"""A plan that repeats itself: what a follower without noise does where the robot stands still.

With little noise a warm start is a function of the observation and of the last plan alone. Where
neither changes, the plan is the same again, and stays so: a fixed point, which no noise leaves.
On peg-insert-side, where most episodes end so, half of the plans differ by 0.0015 and less from the
one before (RMS, of the normalised range), on stick-push by 0.056 and more: docs/starts.md. In int8
half the plans of such a standstill differ by 0.03 from the one before, and none leads away: so
plans that stay near one of them repeat themselves, too. With some noise no two plans are near each
other where the robot stands; they command to go nowhere, and plans that do so repeat themselves as
well.

The chunk after a repeated plan is made from noise alone, as much as training draws. Where that does
not help twice, and the plan is to stay where the robot is, more chunks after it are shaken: warm
starts with more noise than training draws. A plan that pushes or pulls is not shaken: there a chunk
from noise lets go of what it holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.chunk import Chunk, Repeated
from ofp_edge.spec import PolicySpec

REPEATED = 0.015
"""The RMS difference between two plans, normalised and not shifted, below which they are one."""
NEAR, STAYS = 0.06, 4
"""So many plans in a row, each within that RMS difference of the one before them, or each to stay
where the robot is, repeat it."""
AT_REST, NOWHERE = 0.25, 0.12
"""A plan is to stay where the robot is if its RMS, in half ranges from staying in place, is below
the first, and for every number of an action the mean over its steps below the second; that of a
number that is a place, from the first plan of the standstill, below `NEAR`. Noise has a spread and
hardly a mean, a slow move has both."""
OWED = (1, 1, 8, 64)
"""Chunks that are made from more noise the first time that a standstill comes, and when it comes
back. A single one is from noise alone, more are shaken: not at once, as a robot also stands while a
gripper closes. What none of them leads out of may be where the robot ought to stand: from then on
every repeat is followed by a single one."""
SHAKEN = 1.5
"""The standard deviation of the noise of a shaken chunk."""
FORGOTTEN = 8
"""After so many chunks that were followed, a standstill is a new one."""


def is_shaken(before: Repeated) -> bool:
    """Say whether the chunk after this one is to be a warm start with more noise."""
    return before.again and _owed(before.tries) > 1


class Repeats:
    """Compares plans (H, M), normalised float32, without allocating: the robot's part of each
    action, its first numbers. spec: the policy's."""

    def __init__(self, spec: PolicySpec) -> None:
        self._difference = np.empty((spec.horizon, spec.action_dim), np.float32)
        self._motion = np.empty((spec.plan_steps, spec.action_dim), np.float32)
        parts = [(f, f.shape[0]) for f in spec.actions]
        self._absolute = np.repeat([f.hold is None for f, _ in parts], [n for _, n in parts])
        self._place = np.repeat(
            np.array([f.hold or 0.0 for f, _ in parts], np.float32), [n for _, n in parts]
        )
        reach = np.concatenate([np.subtract(f.high, f.low) for f in spec.actions]) / 2
        self._half_range = reach.astype(np.float32)
        self._way, self._drift = np.empty((2, spec.action_dim), np.float32)
        self._least = np.where(self._absolute, NEAR, NOWHERE).astype(np.float32)

    def look(
        self,
        plan: NDArray[np.float32],
        actions: NDArray[np.float32],
        previous: Chunk,
        *,
        noisier: bool,
    ) -> Repeated:
        """Return whether `plan`, which started from `previous`, repeats it, and what the next one
        is to be held against. actions: the same plan, raw (steps, A). noisier: it was made from
        more noise, so nothing is held against it."""
        before = previous.repeated
        if noisier:
            return Repeated(plan, 0, before.tries, before.owed - 1)
        near, stayed = before.near, before.stayed + 1
        if near is None:
            near = previous.normalised
        rests = self._at_rest(plan, actions, near)
        if not (rests or self._within(NEAR, plan, near)):
            near, stayed = plan, 0
        if self._within(REPEATED, plan, previous.normalised) or stayed >= STAYS:
            tries = before.tries + 1 if rests else 1
            return Repeated(near, stayed, tries, _owed(tries))
        followed = before.followed + 1
        return Repeated(near, stayed, before.tries if followed < FORGOTTEN else 0, 0, followed)

    def _at_rest(
        self, plan: NDArray[np.float32], actions: NDArray[np.float32], near: NDArray[np.float32]
    ) -> bool:
        """Whether a plan commands to stay: deltas and velocities theirs, places the place of its
        first step, and that of `near`, where the standstill began."""
        np.copyto(self._place, actions[0], where=self._absolute)
        np.subtract(actions, self._place, out=self._motion)
        np.divide(self._motion, self._half_range, out=self._motion)
        if _mean_square(self._motion) >= AT_REST**2:
            return False
        np.mean(self._motion, axis=0, out=self._way)
        self._subtract(plan, near)
        np.mean(self._difference, axis=0, out=self._drift)
        np.copyto(self._way, self._drift, where=self._absolute)
        np.abs(self._way, out=self._way)
        np.divide(self._way, self._least, out=self._way)
        return bool(self._way.max() < 1)

    def _within(self, least: float, plan: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
        self._subtract(plan, other)
        return _mean_square(self._difference) < least**2

    def _subtract(self, plan: NDArray[np.float32], other: NDArray[np.float32]) -> None:
        size = self._difference.shape[1]
        np.subtract(plan[:, :size], other[:, :size], out=self._difference)


def _owed(tries: int) -> int:
    return OWED[tries - 1] if tries <= len(OWED) else 1


def _mean_square(values: NDArray[np.float32]) -> float:
    flat = values.reshape(-1)
    return float(np.dot(flat, flat)) / flat.size
