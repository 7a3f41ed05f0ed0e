"""Run episodes: job after job, the seeds of each over processes, and over lanes in a process."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from ofp_edge.bundle import MANIFEST
from ofp_edge.errors import OfpError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.evaluate.episode import Episode, Evaluator, Frames, Job
from ofp_edge.evaluate.lanes import run_lanes
from ofp_edge.evaluate.seeds import FIRST_SEED, SEEDS_A_RUN, evaluation_seeds
from ofp_edge.evaluate.threads import one_torch_thread
from ofp_edge.progress import Progress, silent

__all__ = [
    "FIRST_SEED", "SEEDS_A_RUN", "Choice", "Episode", "Evaluator", "Frames", "Job",
    "evaluation_seeds", "run_episodes", "run_jobs",
]  # fmt: skip
_LOOK_S = 0.2


def run_episodes(
    job: Job, seeds: Sequence[int], *, workers: int = 2, progress: Progress = silent
) -> list[Episode]:
    """Run every seed once; return the episodes in the order of `seeds`, whatever the workers did.

    workers: processes; 1 stays in this one.
    """
    return run_jobs([job], seeds, workers=workers, progress=progress)[0]


def run_jobs(
    jobs: Sequence[Job],
    seeds: Sequence[int],
    *,
    workers: int = 2,
    progress: Progress = silent,
) -> list[list[Episode]]:
    """Run `run_episodes` for several jobs over the same seeds, in the same processes and worlds."""
    if workers < 1:
        raise OfpError(f"--workers {workers}: expected 1 or more.")
    found: list[dict[int, Episode]] = [{} for _ in jobs]

    def done(number: int, episode: Episode) -> None:
        found[number][episode.seed] = episode
        good = sum(e.success for e in found[number].values())
        count, total = sum(map(len, found)), len(jobs) * len(seeds)
        progress(count, total, f"success {good}/{len(found[number])}")

    workers = min(workers, len(seeds))
    if workers == 1:
        for number, job in enumerate(jobs):
            waiting = iter(seeds)
            _run_job(job, len(seeds), partial(next, waiting, None), partial(done, number))
    else:
        _in_processes(jobs, seeds, workers, done)
    return [[episodes[seed] for seed in seeds] for episodes in found]


def _run_job(
    job: Job, most: int, take: Callable[[], int | None], done: Callable[[Episode], None]
) -> None:
    """This process's share of a job. most: seeds that it may get, at most."""
    contestant = open_contestant(job.path, job.choice)
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_torch_thread(contestant.engine))
        evaluators = []
        for lane in range(min(most, len(contestant.inferences))):
            evaluators.append(Evaluator(job, contestant, lane))
            stack.callback(evaluators[-1].close)
        run_lanes(evaluators, take, done)


@dataclass
class _Shared:
    """What the processes share. taken: how many seeds of each job were given out; answers:
    (job, Episode)."""

    jobs: Sequence[Job]
    seeds: Sequence[int]
    workers: int
    taken: Any
    answers: Any

    def take(self, number: int) -> int | None:
        """The next seed of a job, or None: there is none left."""
        with self.taken.get_lock():
            index = self.taken[number]
            self.taken[number] = min(index + 1, len(self.seeds))
        return self.seeds[index] if index < len(self.seeds) else None

    def done(self, number: int, episode: Episode) -> None:
        """Hand an answer to the first process."""
        self.answers.put((number, episode))


def _in_processes(
    jobs: Sequence[Job], seeds: Sequence[int], workers: int, done: Callable[[int, Episode], None]
) -> None:
    context = get_context("spawn")  # a fork would copy locks that engine threads hold
    shared = _Shared(jobs, list(seeds), workers, context.Array("l", len(jobs)), context.Queue())
    pool = ProcessPoolExecutor(workers, context, _start_worker, (shared,))
    try:
        futures = [pool.submit(_work) for _ in range(workers)]
        left = len(jobs) * len(seeds)
        while left:
            try:
                done(*shared.answers.get(timeout=_LOOK_S))
                left -= 1
            except queue.Empty:
                _raise_failures(futures)
    finally:
        shared.taken[:] = [len(seeds)] * len(jobs)  # those still at work begin no more episodes
        pool.shutdown(wait=True, cancel_futures=True)


def _raise_failures(futures: Sequence[Future[str | None]]) -> None:
    for future in futures:
        if future.done() and (line := future.result()) is not None:
            raise OfpError(line)


_shared: _Shared | None = None


def _start_worker(shared: _Shared) -> None:
    """One engine thread a process: the processes are the parallelism."""
    global _shared
    os.environ["OMP_NUM_THREADS"] = "1"
    _shared = shared
    if any(not (job.path / MANIFEST).exists() for job in shared.jobs):
        import torch

        torch.set_num_threads(1)


def _work() -> str | None:
    """Take seeds until none is left. A user's error as its line: not every one pickles."""
    shared = _shared
    assert shared is not None
    most = -(-len(shared.seeds) // shared.workers)
    try:
        for number, job in enumerate(shared.jobs):
            take, done = partial(shared.take, number), partial(shared.done, number)
            _run_job(job, most, take, done)
    except OfpError as error:
        return str(error)
    return None
