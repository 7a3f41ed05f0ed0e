"""How late this thread wakes up, which is the floor under every tick, measured where the loop will
run."""

from __future__ import annotations

import gc
import time
from dataclasses import asdict, dataclass

import numpy as np

from ofp_edge.errors import CheckFailed
from ofp_edge.runtime.kernel.rate import sleep_until
from ofp_edge.runtime.kernel.realtime import Setting

PERIOD_NS = 1_000_000
BUDGET_SHARE = 0.05
"""The share of the control period that is the budget where the rig names none."""


@dataclass(frozen=True)
class WakeUps:
    """How late wake-ups were, in microseconds after the moment asked for."""

    samples: int
    p50: float
    p99: float
    p99_9: float
    max: float

    def to_json(self) -> dict[str, float]:
        """Return plain JSON values."""
        return asdict(self)


def measure_wakeups(seconds: float, period_ns: int = PERIOD_NS) -> WakeUps:
    """Sleep to absolute moments `period_ns` apart, like the loop to its ticks; in this thread,
    with whatever priority and core it has."""
    count = max(2, round(seconds * 1e9 / period_ns))
    late_ns = np.zeros(count, dtype=np.int64)
    was_on = gc.isenabled()
    gc.disable()
    try:
        next_ns = time.monotonic_ns() + period_ns
        for i in range(count):
            sleep_until(next_ns)
            now_ns = time.monotonic_ns()
            late_ns[i] = now_ns - next_ns
            # A moment that has already passed is not asked for any more: one delay is counted once.
            next_ns += period_ns * max(1, 1 + (now_ns - next_ns) // period_ns)
    finally:
        if was_on:
            gc.enable()
    p50, p99, p99_9 = (float(x) for x in np.percentile(late_ns, [50, 99, 99.9]) / 1e3)
    return WakeUps(count, p50, p99, p99_9, float(late_ns.max()) / 1e3)


def require_floor(settings: list[Setting], found: WakeUps, budget_us: float) -> None:
    """Raises CheckFailed, one line, when something could not be set or waking up takes too long."""
    if failed := [setting for setting in settings if not setting.ok]:
        first = failed[0]
        raise CheckFailed(
            f"--require-realtime: {first.name}: {first.detail}. {first.remedy}".strip()
        )
    if found.max > budget_us:
        raise CheckFailed(
            f"--require-realtime: waking up took {found.max:.0f} µs at worst ({found.samples} "
            f"times, p99.9 {found.p99_9:.0f} µs), budget {budget_us:g} µs. "
            "Run: ofp-edge doctor --realtime"
        )
