"""Measure every stage, and the bare engine beside them in the same run, round after round."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofp_edge.profile.bench import Bench
from ofp_edge.profile.stages import find_stages
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.samples import Samples

_KEPT_ROUNDS = 1_000_000
_WARM_UP_SHARE, _LONGEST_WARM_UP_S = 0.1, 2.0


@dataclass(frozen=True)
class Measured:
    """One profile run, in nanoseconds, with (n,) int64 for each series.

    `stages` has those that had something to measure, by name and in order. `engine` has the two
    bare engine calls of a round, with nothing around them, and `act_engine` the second of them
    alone. `host` is what the planner spends beside the engine on a plan, `evaluations` how often
    `act` runs for one. `planner` is how long the planner is busy with a plan: the stages that
    count, without the camera's. `overhead` is the time from `infer` entry to chunk ready, noise and
    warm mix included, less the engine call inside it. `capture_to_ready` is the newest frame's age
    (real cameras only) and the stages that count. `first_ns` has each stage's very first call.
    """

    stages: dict[str, NDArray[np.int64]]
    engine: NDArray[np.int64]
    act_engine: NDArray[np.int64]
    overhead: NDArray[np.int64]
    capture_to_ready: NDArray[np.int64]
    planner: NDArray[np.int64]
    host: NDArray[np.int64]
    evaluations: int
    first_ns: dict[str, int]
    rounds: int
    warm_up_rounds: int
    seconds: float


def measure(bench: Bench, duration_s: float, progress: Progress = silent) -> Measured:
    """Run rounds back to back for `duration_s` after a warm-up that is not counted.

    Odd rounds call the bare engine first and even ones last, so that neither always finds the
    caches warm. Raises CameraError when the cameras deliver nothing for ten seconds.
    """
    stages = find_stages(bench)
    times = {stage.name: Samples(_KEPT_ROUNDS) for stage in stages}
    engine, act_engine, overhead, ready, planner, host = (Samples(_KEPT_ROUNDS) for _ in range(6))
    first: dict[str, int] = {}
    bench.wait_for_frames()
    gc.collect()
    gc.disable()
    try:
        warm_up_s = min(_LONGEST_WARM_UP_S, _WARM_UP_SHARE * duration_s)
        began = time.monotonic()
        counted_from = began + warm_up_s
        rounds = warm_up_rounds = 0
        shown = 0
        while (now := time.monotonic()) < counted_from + duration_s:
            counted = now >= counted_from
            took: dict[str, int] = {}
            bare = _bare(bench) if rounds % 2 else None
            for stage in stages:
                value = stage.measure()
                if value is not None:
                    took[stage.name] = value
            encode_ns, act_ns = bare or _bare(bench)
            bench.next_round()
            rounds += 1
            for name, value in took.items():
                first.setdefault(name, value)
            if not counted:
                warm_up_rounds = rounds
                continue
            for name, value in took.items():
                times[name].add(value)
            engine.add(encode_ns + act_ns)
            act_engine.add(act_ns)
            timings = bench.inference.timings
            overhead.add(timings.infer_ns - timings.act_ns)
            chain = [took[s.name] for s in stages if s.counts and s.name in took]
            busy = sum(chain) - took.get("camera", 0)
            planner.add(busy)
            host.add(busy - timings.encode_ns - timings.act_ns)
            fresh = 0 if "camera" in took or not bench.real_cameras else bench.frame_age_ns
            ready.add(sum(chain) + fresh)
            if int(now - counted_from) > shown:
                shown = int(now - counted_from)
                progress(shown, round(duration_s), "s")
        progress(round(duration_s), round(duration_s), "s")
    finally:
        gc.enable()
    return Measured(
        {name: samples.values() for name, samples in times.items() if samples.count},
        engine.values(),
        act_engine.values(),
        overhead.values(),
        ready.values(),
        planner.values(),
        host.values(),
        bench.inference.scheme.nfe,
        first,
        rounds - warm_up_rounds,
        warm_up_rounds,
        time.monotonic() - counted_from,
    )


def _bare(bench: Bench) -> tuple[int, int]:
    """Return the nanoseconds of the calls before `act`, and of `act`, with nothing around them."""
    begin = time.perf_counter_ns()
    for runner in bench.inference.before:
        runner.infer()
    between = time.perf_counter_ns()
    for _ in range(bench.inference.scheme.nfe):
        bench.inference.act.infer()
    return between - begin, time.perf_counter_ns() - between
