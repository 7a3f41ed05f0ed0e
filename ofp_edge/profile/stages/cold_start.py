"""The stage cold start: an episode's first chunk, where that takes more evaluations than others."""

from __future__ import annotations

import time

from ofp_edge.profile.bench import Bench

_EVERY = 16  # rounds: one is dear, and an episode has but one


class Stage:
    """A chunk that is made without a last plan, and not followed. It comes before `act`, whose
    timings are those of the round."""

    name, order, counts = "cold start", 35, False

    def __init__(self, bench: Bench) -> None:
        self._bench, self._round = bench, 0
        inference = bench.inference
        warm = inference.scheme.warm
        self._dearer = warm is not None and len(inference.scheme.cold) > len(warm)

    def measure(self) -> int | None:
        """Return the nanoseconds of one such chunk, every sixteenth round."""
        self._round += 1
        if not self._dearer or self._round % _EVERY != 1:
            return None
        before = time.perf_counter_ns()
        self._bench.inference.infer(self._bench.t_ns)
        return time.perf_counter_ns() - before
