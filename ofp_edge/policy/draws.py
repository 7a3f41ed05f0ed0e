"""Random numbers of a batch, the same ones however many processes share its rows.

Every process draws for the whole batch and keeps its rows. That costs each of them the drawing of
all, and makes a run independent of how many there are.

    rows of the batch   0 1 2 3 | 4 5 6 7 | 8 9 10 11 | 12 13 14 15     dealt out in fours
    of two processes    0 1 2 3   -         4 5 6  7    -               number 0
                        -         0 1 2 3   -           4  5  6  7      number 1

So a method may treat every second row or the first three quarters apart: they stay every second
row and the first three quarters in every process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

CPU = torch.device("cpu")
_DEALT = 4  # rows in a row


class RowGenerator(torch.Generator):
    """A generator on the CPU that knows whose rows are wanted, and on which device.

    A plain torch.Generator serves as well: all rows, on the CPU.
    """

    rank: int = 0
    count: int = 1
    place: torch.device = CPU

    def share(self, rank: int, count: int, place: torch.device) -> None:
        """From now on: the rows of process `rank` of `count`, put on `place`."""
        self.rank, self.count, self.place = rank, count, place


def draw(
    law: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, axis: int = 0
) -> Tensor:
    """`law(shape)` (torch.rand, torch.randn, …) of this process's rows, which lie along `axis`."""
    return _drawn(law, shape, generator, axis).to(place_of(generator))


def integers(below: int, rows: int, generator: torch.Generator) -> Tensor:
    """(rows,) whole numbers in 0 .. below - 1."""
    return indices(below, rows, generator).to(place_of(generator))


def indices(below: int, rows: int, generator: torch.Generator) -> Tensor:
    """The same on the CPU, where the data is."""
    return _drawn(partial(torch.randint, below), (rows,), generator, 0)


def place_of(generator: torch.Generator) -> torch.device:
    """The device of what is drawn."""
    return generator.place if isinstance(generator, RowGenerator) else CPU


def count_of(generator: torch.Generator) -> int:
    """How many processes share a batch."""
    return generator.count if isinstance(generator, RowGenerator) else 1


def _drawn(
    law: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, axis: int
) -> Tensor:
    if not isinstance(generator, RowGenerator) or generator.count == 1:
        return law(tuple(shape), generator=generator)
    rows, count = shape[axis], generator.count
    whole = law((*shape[:axis], rows * count, *shape[axis + 1 :]), generator=generator)
    dealt = torch.arange(rows * count).view(-1, count, math.gcd(rows, _DEALT))
    return whole.index_select(axis, dealt[:, generator.rank].flatten())
