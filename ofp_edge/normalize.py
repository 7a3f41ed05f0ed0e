"""Statistics of a dataset's fields, and the affine map of each to [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch
from ofp_edge.strict import read_as, shown

SMALLEST_SPAN = 1e-4  # a dimension that hardly moves is centred, not blown up
STATE_BOUND = 1.5
"""Where a new network cuts off the numbers of a state, which were -1 to 1 in the demonstrations."""


@dataclass(frozen=True)
class FieldStatistics:
    """Statistics of one field per dimension, in the field's own unit; each (D,) float64."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    count: int

    @staticmethod
    def of(values: NDArray[Any]) -> FieldStatistics:
        """Compute the statistics of `values`, (rows, D)."""
        wide = np.asarray(values, dtype=np.float64)
        return FieldStatistics(
            tuple(wide.min(0).tolist()),
            tuple(wide.max(0).tolist()),
            tuple(wide.mean(0).tolist()),
            tuple(wide.std(0).tolist()),
            int(wide.shape[0]),
        )

    @staticmethod
    def of_range(low: tuple[float, ...], high: tuple[float, ...]) -> FieldStatistics:
        """Return a fixed range (a crop box) in place of measured statistics; its count is 0."""
        mean = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
        std = tuple((b - a) / 2 for a, b in zip(low, high, strict=True))
        return FieldStatistics(tuple(low), tuple(high), mean, std, 0)


@dataclass(frozen=True)
class Affine:
    """An affine map, normalised = (x - offset) / scale: low..high to -1..1. Each (D,) float32."""

    offset: NDArray[np.float32]
    scale: NDArray[np.float32]

    @staticmethod
    def of(statistics: FieldStatistics) -> Affine:
        """Map the observed range to [-1, 1]; a constant dimension maps to 0."""
        low, high = np.asarray(statistics.low), np.asarray(statistics.high)
        span = np.where(high - low < SMALLEST_SPAN, 2.0, high - low)
        return Affine(((low + high) / 2).astype(np.float32), (span / 2).astype(np.float32))

    @staticmethod
    def concatenated(parts: list[Affine]) -> Affine:
        """Concatenate the maps of several fields."""
        return Affine(
            np.concatenate([p.offset for p in parts]), np.concatenate([p.scale for p in parts])
        )

    def normalize(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Map physical values (..., D) to normalised ones (..., D)."""
        return ((x - self.offset) / self.scale).astype(np.float32)


def joined(parts: Sequence[FieldStatistics]) -> FieldStatistics:
    """Concatenate the statistics of several fields."""

    def whole(name: str) -> tuple[float, ...]:
        return tuple(x for part in parts for x in getattr(part, name))

    low, high, mean, std = (whole(name) for name in ("low", "high", "mean", "std"))
    return FieldStatistics(low, high, mean, std, parts[0].count)


def statistics_to_json(statistics: dict[str, FieldStatistics]) -> dict[str, Any]:
    """Return plain JSON; `statistics_from_json` is the inverse."""
    return {
        name: {
            "low": list(s.low),
            "high": list(s.high),
            "mean": list(s.mean),
            "std": list(s.std),
            "count": s.count,
        }
        for name, s in statistics.items()
    }


def statistics_from_json(value: Any) -> dict[str, FieldStatistics]:
    """Read statistics from plain JSON. Raises SpecMismatch when an entry is missing."""
    wanted = {field.name for field in fields(FieldStatistics)}
    whole = isinstance(value, dict) and all(
        isinstance(item, dict) and set(item) == wanted for item in value.values()
    )
    if not whole:
        raise SpecMismatch("statistics", "low, high, mean, std, count", shown(value))
    found = {
        name: read_as(FieldStatistics, item, "statistics", SpecMismatch, shown(name)[1:-1])
        for name, item in value.items()
    }
    for name, item in found.items():
        sizes = {len(x) for x in (item.low, item.high, item.mean, item.std)}
        if len(sizes) != 1 or 0 in sizes:
            raise SpecMismatch(f"statistics: {name}", "as many numbers of each kind", sizes)
    return found
