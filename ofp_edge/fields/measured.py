"""Measured: fields of numbers with a unit, a frame and a range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch
from ofp_edge.fields.field import KINDS, ObservationField
from ofp_edge.normalize import FieldStatistics

_LARGEST = 1 << 28


@dataclass(frozen=True)
class Measured(ObservationField):
    """A field whose first axis has a low and a high for each entry, in `unit`, seen in `frame`.

    camera: the rig's, where the field is made of its pictures. Class attributes: `sizes` is the
    shape, a letter standing for any size, as (3, "N"); `whole_range` is low and high of a kind that
    has no other.
    """

    unit: str
    frame: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    camera: str | None = None
    origin: str | None = None

    sizes: ClassVar[tuple[int | str, ...] | None] = None
    whole_range: ClassVar[tuple[float, float] | None] = None

    def __post_init__(self) -> None:
        what = f"observation {self.name!r}"
        check_shape(what, self.shape)
        super().__post_init__()
        sizes = self.sizes or self.shape
        pairs = zip(sizes, self.shape, strict=False)
        if len(sizes) != len(self.shape) or any(a != b for a, b in pairs if isinstance(a, int)):
            form = f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
            raise SpecMismatch(f"{what}, shape", form, self.shape)
        check_range(what, self.shape[0], self.low, self.high)
        if self.whole_range and any(
            set(ends) != {end}
            for ends, end in zip((self.low, self.high), self.whole_range, strict=True)
        ):
            expected = f"{self.whole_range[0]:g}..{self.whole_range[1]:g} for {self.kind}"
            raise SpecMismatch(f"{what}, range", expected, (self.low, self.high))
        if (self.camera is None) != (self.stream is None):
            seeing = " and ".join(name for name, kind in KINDS.items() if kind.stream is not None)
            raise SpecMismatch(f"{what}, camera", f"one for {seeing}", self.camera)
        if self.origin is not None and not self.places:
            raise SpecMismatch(f"{what}, origin", f"none for {self.kind}", self.origin)

    def statistics(self, values: NDArray[Any]) -> FieldStatistics:
        """Return the stated range, whatever the values are."""
        return FieldStatistics.of_range(self.low, self.high)

    def shown(self) -> str:
        """Describe it like this: (3, 512), m, camera front, frame base."""
        seen = f"camera {self.camera}, " if self.camera else ""
        return f"{self.shape}, {self.unit}, {seen}frame {self.frame}"

    def synthetic(self, rng: np.random.Generator, count: tuple[int, ...]) -> NDArray[Any]:
        """Draw uniformly from the range; 255ths from all there are."""
        size = (*count, *self.shape)
        if self.dtype == "uint8":
            return rng.integers(0, 256, size, dtype=np.uint8)
        axes = (-1, *(1,) * (len(self.shape) - 1))
        low, high = (np.asarray(ends).reshape(axes) for ends in (self.low, self.high))
        return rng.uniform(low, high, size).astype(self.dtype)


def check_shape(what: str, shape: tuple[int, ...]) -> None:
    """Raise SpecMismatch unless these are sizes that memory can hold."""
    if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        raise SpecMismatch(f"{what}, shape", "positive whole numbers", shape)
    if math.prod(shape) > _LARGEST:
        raise SpecMismatch(f"{what}, shape", f"at most {_LARGEST} values", shape)


def check_range(what: str, axes: int, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    """Raise SpecMismatch unless low < high, finite, with a number for each of the `axes`."""
    if len(low) != axes or len(high) != axes:
        raise SpecMismatch(f"{what}, low and high", f"{axes} values", (len(low), len(high)))
    if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in (*low, *high)):
        raise SpecMismatch(f"{what}, range", "finite numbers", (low, high))
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise SpecMismatch(f"{what}, range", "low < high", (low, high))
