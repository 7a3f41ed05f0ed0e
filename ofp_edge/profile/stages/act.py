"""The stage act: noise, warm mix, the engine's `act`, and the chunk copied out."""

from __future__ import annotations

import time

from ofp_edge.profile.bench import Bench


class Stage:
    """The stage of `Inference.infer`, warm from the previous chunk as in a running loop."""

    name, order, counts = "act", 40, True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def measure(self) -> int:
        """Return the nanoseconds of one chunk."""
        bench = self._bench
        before = time.perf_counter_ns()
        bench.chunk = bench.inference.infer(bench.t_ns, bench.chunk)
        return time.perf_counter_ns() - before
