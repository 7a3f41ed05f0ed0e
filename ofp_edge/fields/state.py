"""State: numbers that the robot reports about itself, or about what it knows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from ofp_edge.fields.measured import Measured
from ofp_edge.normalize import FieldStatistics


@dataclass(frozen=True)
class State(Measured):
    """Numbers, which have shape (D,) float32, one `unit` for all or one for each ("m, m, m, 1").

    In a dataset all states lie side by side in data/state (T, sum of D), in the fields' order.
    """

    kind: str = field(default="state", kw_only=True)
    sizes: ClassVar[tuple[int | str, ...] | None] = ("D",)
    joined: ClassVar[bool] = True
    frame_form: ClassVar[str] = "numbers (D,)"
    frame_axes: ClassVar[int | None] = 1

    def array(
        self, have: Collection[str], size: tuple[int, ...]
    ) -> tuple[str, tuple[int, ...], str]:
        """Return the one array of all states."""
        return "state", self.shape, self.dtype

    def statistics(self, values: NDArray[Any]) -> FieldStatistics:
        """Compute the range seen: the stated one is as a rule far wider."""
        return FieldStatistics.of(values)

    @property
    def is_position(self) -> bool:
        """Whether it begins with x, y, z in metres; units are one for all, or one an element."""
        units = [unit.strip() for unit in self.unit.split(",")]
        first = units[:3] if len(units) > 1 else units * 3
        return self.shape[0] >= 3 and first == ["m", "m", "m"]
