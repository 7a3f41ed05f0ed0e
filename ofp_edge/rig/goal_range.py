"""What a robot can be told: the places beyond which its driver would have to clip.

No entry of a rig: an open robot says it (`goal_range`, ofp_edge/runtime/robot.py), and a log keeps
it with [safety]. It narrows the range of an absolute action, and the box of any other one that has
`measured`, so that the layer looks at the very command that the robot follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ofp_edge.errors import RobotError
from ofp_edge.spec import ActionField, PolicySpec


@dataclass(frozen=True)
class GoalRange:
    """The lowest and the highest place of one action field (D,), in the field's unit."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def by_field(spec: PolicySpec, low: Sequence[float], high: Sequence[float]) -> dict[str, GoalRange]:
    """Share the ends (action_dim,) among the action fields. Raises RobotError, one line, where
    the policy's range and the robot's have nothing in common."""
    ranges, start = {}, 0
    for action in spec.actions:
        part = slice(start, start := start + action.shape[0])
        ends = GoalRange(tuple(low[part]), tuple(high[part]))
        for least, most, a, b in zip(*_raw(action, ends), action.low, action.high, strict=True):
            if action.kind == "absolute" and max(least, a) >= min(most, b):
                raise RobotError(
                    f"action {action.name!r}: the robot can be told {least:g}..{most:g}, and the "
                    f"policy commands {a:g}..{b:g}: are the units and the calibration right?"
                )
        ranges[action.name] = ends
    return ranges


def narrowed(action: ActionField, ends: GoalRange | None) -> ActionField:
    """Return the action with a range that the robot can be told, where it is absolute."""
    if ends is None or action.kind != "absolute":
        return action
    least, most = _raw(action, ends)
    low = tuple(max(pair) for pair in zip(action.low, least, strict=True))
    high = tuple(min(pair) for pair in zip(action.high, most, strict=True))
    return replace(action, low=low, high=high)


def _raw(action: ActionField, ends: GoalRange) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if action.scale == 0:
        return action.low, action.high
    pairs = zip(ends.low, ends.high, strict=True)
    raw = [sorted((a / action.scale, b / action.scale)) for a, b in pairs]
    return tuple(a for a, _ in raw), tuple(b for _, b in raw)
