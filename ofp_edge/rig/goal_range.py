"""What a robot can be told: the places beyond which its driver would have to clip.

No entry of a rig: an open robot says it (`goal_range`, ofp_edge/runtime/robot.py), and a log keeps
it with [safety]. It narrows the range of an absolute action, and the box of any other one that has
`measured`, so that the layer looks at the very command that the robot follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ofp_edge.errors import OfpError, RobotError
from ofp_edge.spec import ActionField, PolicySpec
from ofp_edge.strict import shown
from ofp_edge.toml import LARGEST


@dataclass(frozen=True)
class GoalRange:
    """The lowest and the highest place of one action field (D,), in the field's unit."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def by_field(spec: PolicySpec, low: Sequence[float], high: Sequence[float]) -> dict[str, GoalRange]:
    """Share the ends (action_dim,) among the action fields. Raises RobotError, one line, where
    they do not fit the policy."""
    ranges, start = {}, 0
    for action in spec.actions:
        part = slice(start, start := start + action.shape[0])
        ranges[action.name] = GoalRange(tuple(low[part]), tuple(high[part]))
    require_fits(ranges, spec, "the robot", RobotError)
    return ranges


def require_fits(
    ranges: Mapping[str, GoalRange], spec: PolicySpec, where: str, error: type[OfpError]
) -> None:
    """Raise `error`, one line, where a range is none of an action, or has nothing in common with
    that of an absolute one."""
    actions = {action.name: action for action in spec.actions}
    for name, ends in ranges.items():
        what = f"{where}: goal_range of {shown(name)}"
        if name not in actions:
            raise error(f"{what}: expected an action of {sorted(actions)}.")
        action, numbers = actions[name], (*ends.low, *ends.high)
        sizes = {len(ends.low), len(ends.high)}
        if sizes != {action.shape[0]} or not all(abs(x) <= LARGEST for x in numbers):
            raise error(f"{what}: expected {action.shape[0]} finite numbers at each end.")
        if not all(a < b for a, b in zip(ends.low, ends.high, strict=True)):
            raise error(f"{what}: expected low < high, got {shown(ends.low)}, {shown(ends.high)}.")
        for least, most, a, b in zip(*_raw(action, ends), action.low, action.high, strict=True):
            if action.kind == "absolute" and max(least, a) >= min(most, b):
                raise error(
                    f"{what}: it can be told {least:g}..{most:g} (raw), and the policy commands "
                    f"{a:g}..{b:g}: are the units and the calibration right?"
                )


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
