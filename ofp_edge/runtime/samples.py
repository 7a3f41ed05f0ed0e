"""A bounded record of measurements: the newest `capacity` values, no allocation when adding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Samples:
    """A ring of int64 (nanoseconds, usually). `count` goes on counting past the capacity."""

    def __init__(self, capacity: int = 200_000) -> None:
        self._ring = np.zeros(capacity, dtype=np.int64)
        self.count = 0

    def add(self, value: int) -> None:
        """Keep one value; the oldest makes room."""
        self._ring[self.count % len(self._ring)] = value
        self.count += 1

    def values(self) -> NDArray[np.int64]:
        """Return a copy of what is kept, oldest first."""
        if self.count <= len(self._ring):
            return self._ring[: self.count].copy()
        return np.roll(self._ring, -(self.count % len(self._ring)))

    def newest(self, count: int) -> NDArray[np.int64]:
        """Return a copy of at most `count` of the newest values, in no order."""
        kept = min(self.count, count, len(self._ring))
        places = np.arange(self.count - kept, self.count) % len(self._ring)
        return self._ring[places]

    def percentile(self, percent: float) -> float | None:
        """Return a percentile of what is kept, or None when there is nothing."""
        if self.count == 0:
            return None
        return float(np.percentile(self._ring[: min(self.count, len(self._ring))], percent))
