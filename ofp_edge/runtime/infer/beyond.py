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


class _Field:
    """The bounds of one state field, and what was beyond them."""

    def __init__(self, name: str, bounds: StateBounds) -> None:
        self.name = name
        self.low = np.asarray(bounds.low, np.float32)
        self.high = np.asarray(bounds.high, np.float32)
        self.counts = np.zeros(len(self.low), np.int64)
        self.furthest, self.past = np.zeros_like(self.low), np.zeros_like(self.low)
        self._other = np.zeros_like(self.low)

    def passes(self, seen: NDArray[Any]) -> bool:
        """Say whether a number is beyond, without allocating; `past` has by how much, each."""
        np.subtract(self.low, seen, out=self.past)
        np.subtract(seen, self.high, out=self._other)
        np.maximum(self.past, self._other, out=self.past)
        return bool(self.past.max() > 0)

    def keep(self, i: int, value: np.float32) -> None:
        """Count a number that is beyond."""
        self.counts[i] += 1
        before = max(self.low[i] - self.furthest[i], self.furthest[i] - self.high[i])
        if self.counts[i] == 1 or self.past[i] > before:
            self.furthest[i] = value


class Beyond:
    """Looks at each observation. One thread; any thread may read `passed`.

    bounds: of the manifest, by state field. frames: how many observations it has looked at.
    remarks: each number that is beyond, the first time. names: by field, what its numbers are
    called, where somebody knows.
    """

    def __init__(self, bounds: Mapping[str, StateBounds]) -> None:
        self.frames, self.remarks = 0, Remarks()
        self.names: Mapping[str, Sequence[str]] = {}
        self._fields = [_Field(name, x) for name, x in bounds.items()]

    def look(self, observation: Mapping[str, NDArray[Any]]) -> None:
        """Look at a new observation: every field by name."""
        self.frames += 1
        for field in self._fields:
            seen = observation[field.name]
            if not field.passes(seen):
                continue
            for i in map(int, np.flatnonzero(field.past > 0)):
                field.keep(i, seen[i])
                if field.counts[i] == 1:
                    end = field.low[i] if seen[i] < field.low[i] else field.high[i]
                    self.remarks.say(
                        f"{field.name}[{i}]",
                        f"{self._called(field.name, i)} is {seen[i]:.4g}, far outside of what was "
                        f"demonstrated; the network takes it for {end:.4g}",
                    )

    @property
    def passed(self) -> list[Passed]:
        """Return the numbers that were beyond their bounds, those of most frames first."""
        found = [
            Passed(
                self._called(x.name, i),
                int(x.counts[i]),
                self.frames,
                float(x.furthest[i]),
                float(x.low[i]),
                float(x.high[i]),
            )
            for x in self._fields
            for i in map(int, np.flatnonzero(x.counts))
        ]
        return sorted(found, key=lambda x: -x.frames)

    def _called(self, field: str, i: int) -> str:
        name = (self.names.get(field) or ())[i : i + 1]
        return f"{field}[{i}]" + (f" ({name[0]})" if name and name[0] != f"x{i}" else "")
