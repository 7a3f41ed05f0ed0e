"""The boards whose CPU computes, as data (file.py). Needs no torch.

Peaks are what the silicon could do, not what a policy reaches: a floor for latency, an estimate.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from ofp_edge.boards.file import BoardFile, read_boards
from ofp_edge.errors import OfpError, UnknownName


@dataclass(frozen=True)
class Board(BoardFile):
    """A board whose CPU computes.

    cores: those worth computing on; clock_hz, cpus: their clock and numbers. threads: compute
    threads that a policy should take at most, one core left for the loop. fp32_gflops, int8_gops:
    dense peaks over `cores`. cache_bytes: what the cores' caches hold together. glibc: of its usual
    system, the newest that wheels may ask for. wheels: by Python version, the engines' and the
    camera's distributions with their versions.
    """

    figures = BoardFile.figures | {
        "clock_hz", "fp32_gflops", "int8_gops", "cache_bytes", "glibc", "wheels",
    }  # fmt: skip

    cpu: str
    machine: str
    cores: int
    clock_hz: int
    threads: int
    cpus: tuple[int, ...]
    fp32_gflops: float
    int8_gops: float
    cache_bytes: int
    glibc: str
    wheels: dict[str, dict[str, str]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threads > self.cores:
            raise OfpError(f"threads: {self.threads} on {self.cores} cores.")
        if len(set(self.cpus)) != self.cores or min(self.cpus) < 0:
            raise OfpError(f"cpus: {list(self.cpus)} for {self.cores} cores.")

    @property
    def python(self) -> tuple[str, ...]:
        """Return the Python versions for which the engines have wheels."""
        return tuple(self.wheels)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "cpus": list(self.cpus), "python": list(self.python)}


@cache
def boards() -> dict[str, Board]:
    """Return every board by name. Raises OfpError when a board file is malformed."""
    return read_boards(Board, orin=False)


def board(name: str) -> Board:
    """Return a board by name. Raises UnknownName listing them."""
    if name not in boards():
        raise UnknownName("board", name, boards())
    return boards()[name]


def this_machine() -> str:
    """Return the running machine's architecture, as `machine` names it: "x86_64", "aarch64"."""
    return platform.machine()
