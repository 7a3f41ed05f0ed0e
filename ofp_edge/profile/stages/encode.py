"""Stage encode: the newest observation into the engine, its feature out of it."""

from __future__ import annotations

import time

from ofp_edge.profile.bench import Bench


class Stage:
    """`Inference.observe`: copies in, the engine's `encode`, copy out."""

    name, order, counts = "encode", 30, True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def measure(self) -> int:
        """Nanoseconds of one frame."""
        bench = self._bench
        if bench.seen is None:
            raise RuntimeError("encode is measured after preprocess")
        before = time.perf_counter_ns()
        bench.inference.observe(bench.t_ns, bench.seen.arrays)
        return time.perf_counter_ns() - before
