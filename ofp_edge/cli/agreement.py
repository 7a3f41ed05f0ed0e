"""How far a bundle's engines agree, in a line a precision; what `compile` measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofp_edge.quantize.units import shown


def agreement_lines(found: Mapping[str, Any]) -> list[str]:
    """One line a precision: the largest difference between any two engines, for each unit."""
    lines = []
    for precision, item in found.items():
        worst: dict[str, dict[str, Any]] = {}
        for pair in item["pairs"]:
            for action in pair["actions"]:
                if action["max"] >= worst.get(action["unit"], action)["max"]:
                    worst[action["unit"]] = action
        told = ", ".join(f"{shown(a['max'], a['unit'])} ({a['name']})" for a in worst.values())
        lines.append(f"{precision}: engines and torch differ by at most {told}")
    return lines
