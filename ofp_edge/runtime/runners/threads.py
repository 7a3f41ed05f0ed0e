"""An engine's compute threads: how many, on which CPUs, and whether they may wait by spinning."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ofp_edge.errors import OfpError

MOST_THREADS = 256
_ISOLATED = Path("/sys/devices/system/cpu/isolated")


@dataclass(frozen=True)
class Threads:
    """Engine threads. count: the caller's too. cpus: theirs, the caller's first; empty: anywhere.

    The caller's own thread is not moved: its owner may do so (taskset, the loop).
    """

    count: int = 1
    cpus: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_THREADS:
            raise OfpError(f"threads: expected 1..{MOST_THREADS}, got {self.count}.")

    @property
    def helpers(self) -> tuple[int, ...]:
        """Return a CPU for each thread but the caller's; empty when there are too few."""
        return self.cpus[1 : self.count] if len(self.cpus) >= self.count > 1 else ()

    @property
    def spinning(self) -> bool:
        """Return whether idle threads may poll for work: only where nothing else wants the CPU."""
        return bool(self.helpers) and set(self.cpus[: self.count]) <= isolated_cpus()

    @contextlib.contextmanager
    def inherited(self) -> Iterator[None]:
        """Let threads started inside run on `helpers` alone; put the caller back afterwards."""
        if not self.helpers:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.helpers)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


ONE = Threads()
"""The caller's thread alone."""


def isolated_cpus(file: Path = _ISOLATED) -> set[int]:
    """Return the CPUs that the kernel schedules nothing on by itself (isolcpus=), e.g. "2-3,5"."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return set()
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
