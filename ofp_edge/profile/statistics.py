"""Latency statistics: percentiles, jitter, and how much a tail of so many samples is worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}
SAMPLES_FOR_A_TAIL = 10_000
"""Fewer than this, and p99.9 rests on fewer than ten samples."""


@dataclass(frozen=True)
class LatencyStatistics:
    """Milliseconds. jitter = p99.9 - p50: how far the slow ones are from the usual ones."""

    samples: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float
    max: float
    jitter: float

    @staticmethod
    def of_ns(values: NDArray[np.int64]) -> LatencyStatistics:
        """values: (n,) nanoseconds, n >= 1."""
        ms = np.asarray(values, dtype=np.float64) / 1e6
        found = dict(zip(PERCENTILES, np.percentile(ms, list(PERCENTILES.values())), strict=True))
        return LatencyStatistics(
            samples=len(ms), mean=float(ms.mean()), max=float(ms.max()),
            jitter=float(found["p99_9"] - found["p50"]),
            **{name: float(value) for name, value in found.items()},
        )  # fmt: skip

    def to_json(self) -> dict[str, float]:
        """Plain JSON values."""
        return asdict(self)
