"""A measurement of which engine, precision and number of threads is fastest here, and why.

Every candidate makes chunks (a frame encoded, `act` as often as the bundle says) in short turns,
round after round, so that a busy moment hits all of them alike. Each is loaded for its turn and
closed again, because engines that share a pool of threads cannot all be open at once.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofp_edge.bundle import Bundle
from ofp_edge.errors import MissingExtra, OfpError
from ofp_edge.progress import Progress, silent
from ofp_edge.rig.engine import EngineEntry
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.runners.table import engine_of

ROUNDS = 5
_TURN_S = 0.3
_FEWEST_CALLS = 5
_TIE = 1.05  # a gain below 5 % is not worth another thread, nor leaving the bundle's default


@dataclass(frozen=True)
class Candidate:
    """One way to run a bundle."""

    engine: str
    precision: str
    threads: int


@dataclass(frozen=True)
class Picked:
    """The choice. `entry` is what is recorded; `rows` has every candidate as plain values, the
    fastest first.

    A row has engine, precision, threads and either chunk_ms (median over rounds of the median),
    slowest_ms (99th percentile of all calls) and calls, or `refused`, one line.
    """

    entry: EngineEntry
    rows: list[dict[str, Any]]


def candidates(
    bundle: Bundle, thread_counts: Sequence[int], engine: str | None, precision: str | None
) -> list[Candidate]:
    """Return every pair that the bundle holds, narrowed by what is named, on each number of
    threads.

    Raises UnknownName when nothing fits.
    """
    bundle.choose(engine, precision)
    return [
        Candidate(e, p, threads)
        for e, p in bundle.engines()
        if engine in (None, e) and precision in (None, p)
        for threads in (thread_counts if engine_of(e).processor == "cpu" else [1])
    ]


def thread_counts(most: int) -> list[int]:
    """Return 1, 2, 4 … and `most` itself."""
    counts = [1]
    while 2 * counts[-1] <= most:
        counts.append(2 * counts[-1])
    return counts if counts[-1] == most else [*counts, most]


def pick(
    bundle: Bundle,
    among: Sequence[Candidate],
    cpus: Sequence[int] = (),
    *,
    rounds: int = ROUNDS,
    progress: Progress = silent,
) -> Picked:
    """Time every candidate. A candidate that is refused (an engine that is not installed, or
    answers out of tolerance) is in the table with its reason. Raises OfpError when none is left."""
    medians: dict[Candidate, list[float]] = {}
    calls: dict[Candidate, list[float]] = {}
    refused: dict[Candidate, str] = {}
    for lap in range(rounds):
        for index, candidate in enumerate(among):
            progress(lap * len(among) + index, rounds * len(among), candidate.engine)
            if candidate in refused:
                continue
            try:
                inference = load_inference(
                    bundle,
                    candidate.engine,
                    candidate.precision,
                    threads=candidate.threads,
                    cpus=cpus,
                )
            except OfpError as cause:
                refused[candidate] = _short(cause)
                continue
            turn = _turn(inference)
            inference.close()
            medians.setdefault(candidate, []).append(statistics.median(turn))
            calls.setdefault(candidate, []).extend(turn)
    progress(1, 1)
    if not medians:
        raise OfpError(f"no engine of {bundle.path} runs here: {next(iter(refused.values()))}")
    found = {c: statistics.median(values) for c, values in medians.items()}
    rows = [
        {
            "engine": c.engine,
            "precision": c.precision,
            "threads": c.threads,
            "chunk_ms": round(found[c], 4),
            "slowest_ms": round(float(np.percentile(calls[c], 99)), 4),
            "calls": len(calls[c]),
        }
        for c in sorted(found, key=lambda c: found[c])
    ]
    rows += [
        {"engine": c.engine, "precision": c.precision, "threads": c.threads, "refused": why}
        for c, why in refused.items()
    ]
    best = decide(found, bundle)
    return Picked(EngineEntry(best.engine, best.precision, best.threads), rows)


def decide(found: dict[Candidate, float], bundle: Bundle) -> Candidate:
    """Decide for the fastest (ms by candidate); among those within 5 % of it, for the one with the
    fewest threads, then the bundle's own default, then the faster."""
    default, limit = bundle.manifest.default, _TIE * min(found.values())

    def order(c: Candidate) -> tuple[int, bool, float]:
        return c.threads, (c.engine, c.precision) != (default.engine, default.precision), found[c]

    return min((c for c, ms in found.items() if ms <= limit), key=order)


def _turn(inference: Inference) -> list[float]:
    """Return the milliseconds of each chunk during one turn; the first few do not count."""
    spec = inference.spec
    random = np.random.default_rng(0)
    seen = {f.name: f.synthetic(random, ()) for f in spec.observations}
    times: list[float] = []
    t_ns, chunk = 0, None
    gc.collect()
    until = time.perf_counter() + _TURN_S
    while time.perf_counter() < until or len(times) < 2 * _FEWEST_CALLS:
        t_ns += spec.n_action_steps * spec.dt_ns
        before = time.perf_counter_ns()
        inference.observe(t_ns, seen)
        chunk = inference.infer(t_ns, chunk)
        times.append((time.perf_counter_ns() - before) / 1e6)
    return times[_FEWEST_CALLS:]


def _short(cause: OfpError) -> str:
    if isinstance(cause, MissingExtra):
        return "not installed"
    return " ".join(str(cause).split())
