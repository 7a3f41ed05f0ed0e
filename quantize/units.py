"""Robot units for people: millimetres and degrees; a unit without a name is the gripper's."""

from __future__ import annotations

import math

_SHOWN = {
    "m": (1000.0, "mm"), "rad": (180 / math.pi, "°"), "m/s": (1000.0, "mm/s"),
    "rad/s": (180 / math.pi, "°/s"),
}  # fmt: skip


def shown(value: float, unit: str) -> str:
    """0.0012, "m" -> "1.2 mm"."""
    factor, name = _SHOWN.get(unit, (1.0, unit))
    return f"{value * factor:.3g}{'' if name == '1' else ' ' * (name != '°') + name}"
