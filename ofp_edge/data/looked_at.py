"""Which episodes are looked at where all would take too long."""

from __future__ import annotations

import numpy as np

LOOKED_AT = 8
"""How many, at most."""


def looked_at(count: int) -> list[int]:
    """Return at most LOOKED_AT places among `count`, evenly spread, the first and last included."""
    places = np.linspace(0, max(0, count - 1), min(count, LOOKED_AT)).astype(int)
    return sorted(set(places.tolist()))
