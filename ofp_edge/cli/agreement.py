"""How far a bundle's engines agree, in a line a precision; what `compile` measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def agreement_lines(found: Mapping[str, Any]) -> list[str]:
    """One line a precision: the largest difference between any two engines, for each unit."""
    from ofp_edge.quantize.units import farthest  # without torch: a robot inspects too

    return [
        f"{precision}: engines and torch differ by at most {farthest(item['pairs'])}"
        for precision, item in found.items()
    ]
