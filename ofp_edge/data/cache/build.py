"""Make what is not yet in an entry, an episode at a time, by several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from ofp_edge.data.cache.entry import EMPTY, SEEN, About, Entry
from ofp_edge.data.frames import Frames
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.parent import end_with_parent
from ofp_edge.progress import Progress

_POLL_S = 1.0
_own: tuple[Frames, Source] | None = None  # of this process: what it last made, and from what


def build(
    entry: Entry,
    about: About,
    frames: Frames,
    episodes: Sequence[int],
    ends: Sequence[int],
    workers: int,
    progress: Progress,
) -> None:
    """Make the missing ones of `episodes` (numbers in the source), which end at the frames `ends`.

    The entry is locked by the caller. DatasetError: an episode that can't be read, a full disk, a
    worker that was killed; what was made stays, and the next call goes on.
    """
    done = entry.begin(about, len(episodes))
    missing = np.flatnonzero(done == 0).tolist()
    starts = [0, *ends[:-1]]
    tasks = [(i, episodes[i], starts[i], ends[i] - starts[i]) for i in missing]
    title = f"what the network sees of {frames.field.name}"
    progress(len(episodes) - len(tasks), len(episodes), title)
    if not tasks:
        return
    workers = min(workers, len(tasks))
    if workers == 1:
        for made, task in enumerate(tasks):
            _make(entry, about, frames, task)
            progress(len(episodes) - len(tasks) + made + 1, len(episodes), title)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (os.getpid(),)) as pool:
        waiting = {pool.submit(_make, entry, about, frames, task) for task in tasks}
        try:
            _follow(waiting, len(episodes), title, progress)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


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
    if not end_with_parent(parent):
        os._exit(1)


def _make(entry: Entry, about: About, frames: Frames, task: tuple[int, int, int, int]) -> None:
    number, episode, first, count = task
    global _own
    if _own is None or _own[0] != frames:
        _own = frames, frames.open()
    values = np.empty((count, *about.shape[1:]), about.dtype)
    seen = frames.write(_own[1], episode, values)
    entry.write(about, first, values, number, SEEN if seen else EMPTY)
