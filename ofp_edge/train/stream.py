"""Batches are read ahead of the steps that need them, by threads: the same ones for any number.

Which windows a step sees is drawn from the seed and the step's number alone. So nothing has to be
kept to go on in the middle of a run, and it does not matter how far ahead anything was read.
Threads serve, not processes: they wait for the disk and copy without Python's lock, and nothing is
copied twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ofp_edge.policy.draws import RowGenerator
from ofp_edge.train.batches import Batches, Raw

_AHEAD = 2  # batches a thread


class Stream:
    """The batches of the steps from `first` on, of which each has `size` windows, shared by `count`
    processes; this one is number `rank`.

    waited_s: how long `next` has waited for data in all.
    """

    def __init__(
        self,
        batches: Batches,
        size: int,
        seed: int,
        first: int,
        *,
        rank: int = 0,
        count: int = 1,
        pool: ThreadPoolExecutor | None = None,
        ahead: int = 0,
    ) -> None:
        self._batches, self._size, self._seed = batches, size, seed
        self._rank, self._count, self._step = rank, count, first
        self._pool, self._ahead = pool, ahead
        self._waiting: deque[Future[Raw]] = deque()
        self.waited_s = 0.0

    def next(self) -> Raw:
        """Return the next step's windows. DatasetError where they cannot be read."""
        begun = time.monotonic()
        if self._pool is None:
            raw = self._read(self._step)
        else:
            while len(self._waiting) <= self._ahead:
                step = self._step + len(self._waiting)
                self._waiting.append(self._pool.submit(self._read, step))
            raw = self._waiting.popleft().result()
        self._step += 1
        self.waited_s += time.monotonic() - begun
        return raw

    def drop(self) -> None:
        """Read nothing more that was not begun."""
        for future in self._waiting:
            future.cancel()
        self._waiting.clear()

    def _read(self, step: int) -> Raw:
        return self._batches.read(self.rows(step))

    def rows(self, step: int) -> Tensor:
        """Return the numbers of this process's windows of a step."""
        generator = RowGenerator()
        generator.share(self._rank, self._count, torch.device("cpu"))
        (drawn,) = np.random.SeedSequence([self._seed, step]).generate_state(1, np.uint64)
        generator.manual_seed(int(drawn >> np.uint64(1)))
        return self._batches.drawn(self._size // self._count, generator)


@contextmanager
def streaming(
    batches: Batches, size: int, seed: int, first: int, rank: int, count: int, workers: int
) -> Iterator[Stream]:
    """Open a stream with `workers` threads; with none, every batch is read when it is asked for."""
    if not workers:
        yield Stream(batches, size, seed, first, rank=rank, count=count)
        return
    with ThreadPoolExecutor(workers, "batches") as pool:
        stream = Stream(
            batches, size, seed, first, rank=rank, count=count, pool=pool, ahead=_AHEAD * workers
        )
        try:
            yield stream
        finally:
            stream.drop()
