"""Measures of smoothness: jerk of what was sent, jumps and changes of mind between plans.

Sent actions imply positions x, one a control step of dt seconds: a delta field's x is the running
sum of action * scale, a velocity's of action * scale * dt, an absolute field's is action * scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.chunk import Chunk
from ofp_edge.spec import ActionField, PolicySpec


def positions(actions: NDArray[np.float32], field: ActionField, dt_s: float) -> NDArray[np.float64]:
    """Return the positions that (T, D) raw actions of one field imply, in its unit, T rows; a delta
    and a velocity begin at the origin before the first action: T + 1 rows."""
    moved = actions.astype(np.float64) * field.scale
    if field.kind == "absolute":
        return moved
    if field.kind == "velocity":
        moved = moved * dt_s
    return np.concatenate([np.zeros_like(moved[:1]), np.cumsum(moved, axis=0)])


def jerk(actions: NDArray[np.float32], spec: PolicySpec) -> float | None:
    """Return the RMS over steps and dimensions of the positions' third difference, over dt^3.

    actions: (T, action_dim) raw, as sent, one a control step. Unit per s^3: of the continuous
    fields (interpolation "linear") that share the first one's unit; others cannot be averaged with
    them. None without such a field, or with fewer than 4 positions.
    """
    squares: list[NDArray[np.float64]] = []
    unit, start = None, 0
    for field in spec.actions:
        columns = actions[:, start : start + field.shape[0]]
        start += field.shape[0]
        if field.interpolation == "nearest" or unit not in (None, field.unit):
            continue
        unit = field.unit
        third = np.diff(positions(columns, field, spec.dt_s), n=3, axis=0) / spec.dt_s**3
        squares.append(third.reshape(-1) ** 2)
    every = np.concatenate(squares) if squares else np.empty(0)
    return float(np.sqrt(every.mean())) if every.size else None


def jerk_unit(spec: PolicySpec) -> str | None:
    """Return the unit of `jerk`, e.g. "m/s^3"; None where there is none to measure."""
    units = [field.unit for field in spec.actions if field.interpolation != "nearest"]
    return f"{units[0]}/s^3" if units else None


def half_ranges(spec: PolicySpec) -> NDArray[np.float32]:
    """Return (action_dim,): half of high - low of each action."""
    half = [(b - a) / 2 for f in spec.actions for a, b in zip(f.low, f.high, strict=True)]
    return np.asarray(half, dtype=np.float32)


def jump(old: Chunk, new: Chunk, t_ns: int, half: NDArray[np.float32]) -> float:
    """Return how far the plans' actions at `t_ns` are apart: RMS, in `half_ranges`."""
    difference = (new.at(t_ns) - old.at(t_ns)) / half
    return float(np.sqrt(np.mean(difference**2)))


def flips(sides: Sequence[int | None]) -> int | None:
    """Count how often consecutive plans changed between side -1 and +1 (0: between; None: no side).

    A plan without a side does not end a change of mind: -1, 0, +1 is one. Returns None when no plan
    names a side: the task has none.
    """
    if all(side is None for side in sides):
        return None
    taken = [side for side in sides if side]
    return sum(a != b for a, b in zip(taken, taken[1:], strict=False))
