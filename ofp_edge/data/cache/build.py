"""Make what is not yet in an entry, an episode at a time, by several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.cache.entry import EMPTY, SEEN, About, Entry, made_of
from ofp_edge.data.frames import Frames
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.outside import memory_left
from ofp_edge.parent import end_with_parent
from ofp_edge.progress import Progress

_POLL_S = 1.0
_WORKER_BYTES = 500_000_000  # what one takes: libraries, a chunk of a recording, a block
_source: Source | None = None  # of a worker: what it makes frames from


def build(
    entry: Entry,
    about: About,
    frames: Frames,
    episodes: Sequence[int],
    ends: Sequence[int],
    workers: int,
    progress: Progress,
) -> bool:
    """Make the missing ones of `episodes` (numbers in the source), which end at the frames `ends`;
    return whether any was missing.

    The entry is locked by the caller. DatasetError: an episode that can't be read, a full disk, a
    worker that was killed; what was made stays, and the next call goes on.
    """
    done = entry.begin(about, len(episodes))
    missing = np.flatnonzero(~made_of(done)).tolist()
    starts = [0, *ends[:-1]]
    tasks = [(i, episodes[i], starts[i], ends[i] - starts[i]) for i in missing]
    title = f"what the network sees of {frames.field.name}"
    progress(len(episodes) - len(tasks), len(episodes), title)
    if not tasks:
        return False
    left = memory_left()
    fitting = workers if left is None else max(1, left // _WORKER_BYTES)
    workers = min(workers, len(tasks), fitting)
    if workers == 1:
        source = frames.open()
        for made, task in enumerate(tasks):
            _make(entry, about, frames, source, task)
            progress(len(episodes) - len(tasks) + made + 1, len(episodes), title)
        return True
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (os.getpid(),)) as pool:
        waiting = {pool.submit(_make_one, entry, about, frames, task) for task in tasks}
        try:
            _follow(waiting, len(episodes), title, progress)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return True


def _follow(waiting: set[Future[None]], total: int, title: str, progress: Progress) -> None:
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_EXCEPTION, timeout=_POLL_S)
        try:
            for future in done:
                future.result()
        except BrokenProcessPool:
            raise DatasetError(
                f"a process that made {title} was killed: is there too little memory? What was "
                "made stays: run the command again, with fewer --workers."
            ) from None
        progress(total - len(waiting), total, title)


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this one
    if not end_with_parent(parent):
        os._exit(1)


def _make_one(entry: Entry, about: About, frames: Frames, task: tuple[int, int, int, int]) -> None:
    """Make an episode in a worker, which opens its source once."""
    global _source
    if _source is None:
        _source = frames.open()
    _make(entry, about, frames, _source, task)


def _make(
    entry: Entry, about: About, frames: Frames, source: Source, task: tuple[int, int, int, int]
) -> None:
    number, episode, first, count = task
    seen = False

    def blocks() -> Iterator[NDArray[Any]]:
        nonlocal seen
        for values in frames.blocks(source, episode, count):
            seen = seen or frames.shows(values)
            yield values

    entry.write(about, first, blocks())
    entry.mark(number, SEEN if seen else EMPTY)
