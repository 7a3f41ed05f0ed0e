"""Many jobs on this machine or on a Ray cluster, each in a fresh process.

A job is a function at a module's top level with its arguments; it returns nothing, and its results
are in the work folder. Each process has one torch thread: the processes are the parallelism.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from ofp_edge.errors import OfpError
from ofp_edge.extras import require
from ofp_edge.parent import end_with_parent

Job = tuple[Callable[..., None], tuple[Any, ...]]


class Pool(Protocol):
    """A pool runs jobs. `run` yields the index of each as it ends, and raises what a job raised."""

    name: str
    workers: int

    def run(self, jobs: Sequence[Job]) -> Iterator[int]:
        """Run the jobs in any order. Raises a job's OfpError after the running jobs have been
        stopped."""


class LocalPool:
    """A pool of processes on this machine."""

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise OfpError(f"--workers {workers}: expected 1 or more.")
        self.name, self.workers = "this machine", workers

    def run(self, jobs: Sequence[Job]) -> Iterator[int]:
        """Run the jobs; see Pool. They are killed with this process; Ctrl-C lets each write what
        it has."""
        context = get_context("spawn")  # a fork would copy locks that torch's threads hold
        waiting = list(enumerate(jobs))
        running: dict[Connection, tuple[int, Any]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    number, job = waiting.pop(0)
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_child, args=(theirs, os.getpid(), job))
                    process.start()
                    theirs.close()
                    running[ours] = number, process
                for connection in wait(list(running)):
                    assert isinstance(connection, Connection)
                    number, process = running.pop(connection)
                    try:
                        answer = connection.recv()
                    except EOFError:
                        answer = "died without a word: killed, or out of memory."
                    process.join()
                    if answer is not None:
                        raise _as_error(answer)
                    yield number
        finally:
            for _, process in running.values():
                if sys.exc_info()[0] is not KeyboardInterrupt:  # the jobs got the signal with us
                    process.terminate()
            for _, process in running.values():
                process.join()


class RayPool:
    """A pool on a Ray cluster, every node of which sees the work folder under the same path.

    `address` is the cluster's, or "local" to start a cluster here.
    """

    def __init__(self, address: str) -> None:
        self._ray = require("ray", "ray")
        try:
            self._ray.init(address, ignore_reinit_error=True, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as cause:
            raise OfpError(f"--ray {address}: no cluster answers: {cause}") from None
        self.name = f"ray {address}"
        self.workers = int(self._ray.cluster_resources().get("CPU", 1))

    def run(self, jobs: Sequence[Job]) -> Iterator[int]:
        """Run the jobs; see Pool."""
        # max_calls: a fresh process, so that its peak memory is the job's.
        remote = self._ray.remote(num_cpus=1, max_calls=1, max_retries=0)(answer_of)
        running = {remote.remote(job): number for number, job in enumerate(jobs)}
        try:
            while running:
                (done,), _ = self._ray.wait(list(running), num_returns=1)
                number = running.pop(done)
                answer = self._ray.get(done)
                if answer is not None:
                    raise _as_error(answer)
                yield number
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)


def answer_of(job: Job) -> str | None:
    """Do a job. Return None or what went wrong: a user's error as its line, a bug with its
    trace."""
    os.environ["OMP_NUM_THREADS"] = "1"
    function, arguments = job
    try:
        function(*arguments)
    except OfpError as error:
        return str(error)
    except KeyboardInterrupt:
        return ""
    except Exception:
        return traceback.format_exc()
    return None


def _as_error(answer: str) -> BaseException:
    if answer.startswith("Traceback"):
        return RuntimeError(f"in a job's process:\n{answer}")
    return OfpError(answer) if answer else KeyboardInterrupt()


def _child(connection: Connection, parent: int, job: Job) -> None:
    # A benchmark that is killed takes its processes along: none goes on writing where the next
    # one resumes.
    if not end_with_parent(parent):
        return
    connection.send(answer_of(job))
