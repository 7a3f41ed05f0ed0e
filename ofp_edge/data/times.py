"""Check whether frames were recorded at the rate that the data state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError

KEYS = ("timestamp", "timestamps")
_ANOTHER_RATE = 0.1  # of a period: the median step is so far off that it is another rate


def time_steps(source: Source, episode: int) -> NDArray[np.float64] | None:
    """Return (length - 1,) seconds between frames, or None where the source has no times."""
    if (times := source.times_s(episode)) is not None:
        return np.diff(times)
    for key in KEYS:
        if key in source.keys:
            return np.diff(source.read(key, episode).astype(np.float64).reshape(-1))
    return None


def check_times(source: Source, episode: int, rate_hz: float) -> None:
    """Raise DatasetError when an episode's median step belongs to another rate."""
    steps = time_steps(source, episode)
    if steps is not None and len(steps) and (why := another_rate(steps, rate_hz)) is not None:
        raise DatasetError(
            f"{source.path}: episode {episode}: {why}. Leave it out, or resample it."
        )


def another_rate(steps: NDArray[np.float64], rate_hz: float) -> str | None:
    """Say which rate these steps (n,) in seconds are of, if their median is of another."""
    median = float(np.median(steps))
    if abs(median * rate_hz - 1) <= _ANOTHER_RATE:
        return None
    got = f"{1 / median:.3g} Hz" if median > 0 else f"steps of {median:g} s"
    return f"its timestamps are of {got}, expected {rate_hz:g} Hz"
