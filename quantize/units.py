"""Show robot units to people: millimetres and degrees; a unit without a name is the gripper's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = {
    "m": (1000.0, "mm"), "rad": (180 / math.pi, "°"), "m/s": (1000.0, "mm/s"),
    "rad/s": (180 / math.pi, "°/s"),
}  # fmt: skip


def shown(value: float, unit: str) -> str:
    """Format a value: 0.0012, "m" -> "1.2 mm"."""
    factor, name = in_shown_unit(unit)
    return f"{value * factor:.3g}{' ' * (name not in ('', '°')) + name}"


def in_shown_unit(unit: str) -> tuple[float, str]:
    """Return the factor into the unit that people are shown, and its name; "1" has none."""
    return _SHOWN.get(unit, (1.0, "" if unit == "1" else unit))


def farthest(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Format the largest difference for each unit, "1.2 mm (hand[0]), 0.01 (grip)", over all pairs
    that `agreement.measure_agreement` gives."""
    worst: dict[str, Mapping[str, Any]] = {}
    for action in (action for pair in pairs for action in pair["actions"]):
        if _far(action) >= _far(worst.get(action["unit"], action)):
            worst[action["unit"]] = action
    return ", ".join(f"{shown(a['max'], a['unit'])} ({a['name']})" for a in worst.values())


def _far(action: Mapping[str, Any]) -> float:
    return math.inf if math.isnan(action["max"]) else float(action["max"])
