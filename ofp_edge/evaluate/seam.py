"""Measures of the seam: how what is sent goes on where one plan takes over from another.

sent   c[k-2]   c[k-1] | c[k]   c[k+1]        k: the first command of the new plan, the first
         committed      |    free             that was free when that plan was begun
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ofp_edge.evaluate.smoothness import half_ranges, positions
from ofp_edge.spec import PolicySpec

Values = NDArray[np.float64]


class Seams(NamedTuple):
    """The mean jump over an episode's seams, and the RMS jerk over them.

    jump: half ranges of the action. jerk: unit per s^3, as `smoothness.jerk` has it.
    jerk_normalised: half ranges per s^3. None where no seam has what its measure needs.
    """

    jump: float | None
    jerk: float | None
    jerk_normalised: float | None


def measure_seams(sent: NDArray[np.float32], seams: Sequence[int], spec: PolicySpec) -> Seams:
    """Measure an episode. sent: (T, action_dim) raw, one a control step; seams: the k of each.

    Continuous fields count alone (interpolation "linear"): a gripper is meant to switch.

    Jump: the step c[k] - c[k-1] from the last committed command to the first free one, as far as it
    lies outside what the steps beside it move, c[k-1] - c[k-2] and c[k+1] - c[k]: its distance from
    the interval between those two, by dimension; then RMS over dimensions. A plan that goes on as
    it came, at one pace or at one that rises or falls throughout, has none. A seam without two
    commands on either side is left out.

    Jerk: RMS, over dimensions, of the third differences over dt^3 of the positions that the
    commands imply (smoothness.py), those alone whose commands lie on both sides of a seam: what the
    committed part does by itself does not count. These are 3 commands of a delta or a velocity, 4
    absolute ones. The physical one averages the fields that share the first one's unit, the
    normalised one all of them, each in half ranges of its action.
    """
    half = half_ranges(spec).astype(np.float64)
    own, normalised = list[Values](), list[Values]()
    chosen = np.zeros(len(half), np.bool_)
    unit, start = None, 0
    for field in spec.actions:
        part = slice(start, start := start + field.shape[0])
        if field.interpolation == "nearest":
            continue
        chosen[part] = True
        span = 4 if field.kind == "absolute" else 3
        moved = positions(sent[:, part], field, spec.dt_s)
        third = np.diff(moved, n=3, axis=0) / spec.dt_s**3
        rows = sorted({i for k in seams for i in range(k - span + 1, k) if 0 <= i < len(third)})
        per_half = half[part] * field.scale
        normalised.append((third[rows] / per_half).reshape(-1))
        if unit in (None, field.unit):
            unit = field.unit
            own.append(third[rows].reshape(-1))
    return Seams(_jump(sent[:, chosen] / half[chosen], seams), _rms(own), _rms(normalised))


def _jump(commands: Values, seams: Sequence[int]) -> float | None:
    steps = np.diff(commands, axis=0)  # steps[i] leads from command i to i + 1
    whole = [k for k in seams if 2 <= k < len(commands) - 1]
    if not whole or not commands.shape[1]:
        return None
    at = np.asarray(whole) - 1
    before, over, after = steps[at - 1], steps[at], steps[at + 1]
    low, high = np.minimum(before, after), np.maximum(before, after)
    beyond = np.maximum(0, np.maximum(low - over, over - high))
    return float(np.sqrt((beyond**2).mean(1)).mean())


def _rms(parts: Sequence[Values]) -> float | None:
    every = np.concatenate(parts) if parts else np.empty(0)
    return float(np.sqrt((every**2).mean())) if every.size else None
