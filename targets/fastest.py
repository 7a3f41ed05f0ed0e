"""Find the fastest engine and precision on this machine: a quick look, not a benchmark."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from ofp_edge.manifest import Default
from ofp_edge.runtime.runners import Runner

_ROUNDS, _CALLS = 5, 40


def fastest(runners: Mapping[tuple[str, str, str], Runner]) -> Default:
    """Find the fastest by the sum over the functions. runners: by (engine, precision, function).

    Candidates take turns, so that a busy moment hits all of them; the median over the rounds
    counts. One thread each.
    """
    times: dict[tuple[str, str], list[float]] = {}
    for runner in runners.values():
        runner.warm_up()
    for _ in range(_ROUNDS):
        totals: dict[tuple[str, str], float] = {}
        for (engine, precision, _), runner in runners.items():
            calls = []
            for _ in range(_CALLS):
                start = time.perf_counter()
                runner.infer()
                calls.append(time.perf_counter() - start)
            key = engine, precision
            totals[key] = totals.get(key, 0.0) + statistics.median(calls)
        for key, total in totals.items():
            times.setdefault(key, []).append(total)
    return Default(*min(times, key=lambda key: statistics.median(times[key])))
