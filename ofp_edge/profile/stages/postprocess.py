"""The stage postprocess: the controller's decision of one tick, interpolation and limits
included."""

from __future__ import annotations

import time

from ofp_edge.profile.bench import Bench
from ofp_edge.runtime.control.events import ChunkReady, Event, PlanStarted


class Stage:
    """The stage of `Controller.step` with a new chunk to take over."""

    name, order, counts = "postprocess", 50, False

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def measure(self) -> int:
        """Return the nanoseconds of one command."""
        bench = self._bench
        if bench.chunk is None:
            raise RuntimeError("postprocess is measured after act")
        events: list[Event] = [PlanStarted(bench.t_ns, bench.t_ns), ChunkReady(bench.chunk)]
        before = time.perf_counter_ns()
        bench.controller.step(bench.t_ns, events)
        return time.perf_counter_ns() - before
