"""What robosuite's settings, in robomimic's env_args, state of each part of the action vector.

One controller a robot, below robosuite 1.5 with control_delta, above it with input_type; a
composite one nests them by body part. The vector has the parts in the order in which they are
written, an arm before its gripper (CompositeController.setup_action_split_idx).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ofp_edge.data.source import Control
from ofp_edge.strict import shown

_TYPES = {
    "OSC_POSE": ("delta", 6), "OSC_POSITION": ("delta", 3), "IK_POSE": ("delta", None),
    "JOINT_POSITION": ("delta", None), "JOINT_VELOCITY": ("velocity", None),
    "JOINT_TORQUE": ("torque", None),
}  # fmt: skip
_ALWAYS = ("JOINT_VELOCITY", "JOINT_TORQUE")  # whatever control_delta says: they don't read it
_SIDES = ("right", "left")
_MOST_PARTS, _LARGEST = 64, 1e9


def controls(options: dict[str, Any]) -> tuple[Control, ...]:
    """Return a Control for each part, of env_kwargs. What is none of robosuite's states nothing."""
    found = options.get("controller_configs")
    robots = options.get("robots")
    count = len(robots) if isinstance(robots, list) else 1
    each = found if isinstance(found, list) else [found] * min(max(1, count), _MOST_PARTS)
    made: list[Control] = []
    for number, value in enumerate(each):
        parts = list(_parts(value, "")) if isinstance(value, dict) else []
        tail = f"{number}" if len(each) > 1 else ""
        for name, leaf in parts:
            made.append(_control("_".join(x for x in (name, tail) if x), leaf))
    return tuple(made[:_MOST_PARTS])


def is_arm(part: str) -> bool:
    """Say whether a part is an arm, by its name; the only part, without a name, is one."""
    return part.split("_")[0] in ("", *_SIDES, "arm") or part.isdecimal()


def _parts(
    value: dict[str, Any], name: str, depth: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = value.get("type")
    if (isinstance(kind, str) and kind in _TYPES) or {"control_delta", "input_type"} & set(value):
        yield name, value
        return
    for key, inside in value.items() if depth < 6 else ():
        if isinstance(inside, dict) and "gripper" not in str(key):
            group = key in ("body_parts", "arms", "composite_controller_specific_configs")
            yield from _parts(inside, name if group else str(key), depth + 1)


def _control(name: str, leaf: dict[str, Any]) -> Control:
    kind = leaf.get("type") if isinstance(leaf.get("type"), str) else ""
    default, columns = _TYPES.get(str(kind), (None, None))
    stated = True
    if kind in _ALWAYS:
        said, meant = str(kind), default
    elif "input_type" in leaf:
        said, meant = f"input_type {shown(leaf['input_type'])}".replace("'", ""), "delta"
        if leaf["input_type"] != "delta":
            meant = "absolute"
    elif "control_delta" in leaf:
        said = f"control_delta {'true' if leaf['control_delta'] else 'false'}"
        meant = "delta" if leaf["control_delta"] else "absolute"
    else:
        said, meant, stated = f"{kind}, by default", default, False
    if leaf.get("impedance_mode", "fixed") not in ("fixed", None):
        columns = None  # its stiffness is part of the action
    return Control(name, meant, columns, _limit(leaf.get("input_max")), said, stated)


def _limit(value: Any) -> float:
    numbers = value if isinstance(value, list) else [value]
    plain = [x for x in numbers if isinstance(x, (int, float)) and not isinstance(x, bool)]
    return max((abs(float(x)) for x in plain if 0 < abs(x) <= _LARGEST), default=1.0)
