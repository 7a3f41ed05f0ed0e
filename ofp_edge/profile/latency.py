"""Latency statistics: percentiles with intervals, jitter, and how much a tail is worth."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}
SAMPLES_FOR_A_TAIL = 10_000
"""With fewer samples than this, p99.9 rests on fewer than ten of them."""
_SAMPLES_FOR_INTERVALS, _BLOCKS, _REPLICATES = 200, 100, 300


@dataclass(frozen=True)
class LatencyStatistics:
    """Latencies in milliseconds. The jitter is p99.9 - p50: how far the slow ones are from the
    usual ones.

    `intervals` has the 95 % interval of each percentile, see `intervals_of`; it is empty for fewer
    than 200 samples.
    """

    samples: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float
    max: float
    jitter: float
    intervals: dict[str, tuple[float, float]]

    @staticmethod
    def of_ns(values: NDArray[np.int64]) -> LatencyStatistics:
        """Make statistics from `values`, (n,) nanoseconds, n >= 1."""
        ms = np.asarray(values, dtype=np.float64) / 1e6
        found = dict(zip(PERCENTILES, np.percentile(ms, list(PERCENTILES.values())), strict=True))
        return LatencyStatistics(
            samples=len(ms),
            mean=float(ms.mean()),
            max=float(ms.max()),
            jitter=float(found["p99_9"] - found["p50"]),
            intervals=intervals_of(ms),
            **{name: float(value) for name, value in found.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def intervals_of(values: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of PERCENTILES of (n,) values in the order in which they were
    measured.

    The bootstrap draws blocks: a slow moment spans many samples, so stretches are drawn, not
    samples. The tail's interval is no wider than what was seen, because unseen values leave no
    trace in the samples.
    """
    if len(values) < _SAMPLES_FOR_INTERVALS:
        return {}
    block = np.minimum(np.arange(len(values)) * _BLOCKS // len(values), _BLOCKS - 1)
    order = np.argsort(values, kind="stable")
    ordered, block = values[order], block[order]
    rng = np.random.default_rng(0)
    found = np.empty((_REPLICATES, len(PERCENTILES)))
    for row in found:
        times_drawn = np.bincount(rng.integers(0, _BLOCKS, _BLOCKS), minlength=_BLOCKS)
        weight = np.cumsum(times_drawn[block])
        ranks = np.array(list(PERCENTILES.values())) / 100 * weight[-1]
        row[:] = ordered[np.minimum(np.searchsorted(weight, ranks), len(values) - 1)]
    low, high = np.percentile(found, [2.5, 97.5], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(PERCENTILES, low, high, strict=True)}


def proposed_latency_ms(ms: float) -> float:
    """Return a latency L rounded up to a millisecond, and not to a control step. Take-overs happen
    at ticks anyway, and an L of exactly one step would miss the next tick where frames are captured
    just after one (docs/runtime.md)."""
    return float(math.ceil(ms))
