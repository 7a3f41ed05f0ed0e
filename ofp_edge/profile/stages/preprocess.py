"""The stage preprocess: depth frames become points, colour frames images, the robot's state
arrays."""

from __future__ import annotations

import time

from ofp_edge.profile.bench import Bench


class Stage:
    """The stage of `Observer.prepare` on the newest frame."""

    name, order, counts = "preprocess", 20, True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def measure(self) -> int:
        """Return the nanoseconds of one observation."""
        bench = self._bench
        before = time.perf_counter_ns()
        bench.seen = bench.observer.prepare(bench.state, keep=True)
        return time.perf_counter_ns() - before
