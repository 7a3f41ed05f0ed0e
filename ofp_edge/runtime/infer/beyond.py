"""States that go further than the network sees: it cuts their numbers off, and acts as if the robot
were nearer to what was demonstrated than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.manifest import StateBounds
from ofp_edge.runtime.remarks import Remarks

WHAT = "beyond training"


@dataclass(frozen=True)
class Passed:
    """A number that was beyond its bounds. frames: in how many of the `of` observations; furthest:
    its value when it was furthest from them, in the field's unit; low, high: the bounds."""

    number: str
    frames: int
    of: int
    furthest: float
    low: float
    high: float


class Beyond:
    """Looks at each observation. One thread; any thread may read `passed`.

    bounds: of the manifest, by state field. frames: how many observations it has looked at.
    remarks: each number that is beyond, the first time. names: by field, what its numbers are
    called, where somebody knows.
    """

    def __init__(self, bounds: Mapping[str, StateBounds]) -> None:
        self.frames, self.remarks = 0, Remarks()
        self.names: Mapping[str, Sequence[str]] = {}
        self._fields = [
            (name, np.asarray(x.low, np.float32), np.asarray(x.high, np.float32))
            for name, x in bounds.items()
        ]
        self._counts = {name: np.zeros(len(low), np.int64) for name, low, _ in self._fields}
        self._furthest = {name: np.zeros(len(low), np.float32) for name, low, _ in self._fields}

    def look(self, observation: Mapping[str, NDArray[Any]]) -> None:
        """Look at a new observation: every field by name."""
        self.frames += 1
        for name, low, high in self._fields:
            seen = observation[name]
            if not ((seen < low) | (seen > high)).any():
                continue
            past = np.maximum(low - seen, seen - high)
            furthest, counts = self._furthest[name], self._counts[name]
            for i in map(int, np.flatnonzero(past > 0)):
                counts[i] += 1
                if past[i] > max(low[i] - furthest[i], furthest[i] - high[i]) or counts[i] == 1:
                    furthest[i] = seen[i]
                if counts[i] == 1:
                    end = low[i] if seen[i] < low[i] else high[i]
                    self.remarks.say(
                        f"{name}[{i}]",
                        f"{self._called(name, i)} is {seen[i]:.4g}, far outside of what was "
                        f"demonstrated; the network takes it for {end:.4g}",
                    )

    @property
    def passed(self) -> list[Passed]:
        """Return the numbers that were beyond their bounds, those of most frames first."""
        found = [
            Passed(
                self._called(name, i),
                int(self._counts[name][i]),
                self.frames,
                float(self._furthest[name][i]),
                float(low[i]),
                float(high[i]),
            )
            for name, low, high in self._fields
            for i in map(int, np.flatnonzero(self._counts[name]))
        ]
        return sorted(found, key=lambda x: -x.frames)

    def _called(self, field: str, i: int) -> str:
        name = (self.names.get(field) or ())[i : i + 1]
        return f"{field}[{i}]" + (f" ({name[0]})" if name and name[0] != f"x{i}" else "")
