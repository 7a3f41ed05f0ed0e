"""The stage encode: the newest observation goes into the engine, its feature comes out."""

from __future__ import annotations

import time

from ofp_edge.profile.bench import Bench


class Stage:
    """The stage of `Inference.observe`: it copies in, runs the engine's `encode`, and copies
    out."""

    name, order, counts = "encode", 30, True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def measure(self) -> int:
        """Return the nanoseconds of one frame."""
        bench = self._bench
        if bench.seen is None:
            raise RuntimeError("encode is measured after preprocess")
        before = time.perf_counter_ns()
        bench.inference.observe(bench.t_ns, bench.seen.arrays)
        return time.perf_counter_ns() - before
