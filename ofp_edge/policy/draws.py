"""Random numbers of a batch, the same ones however many processes share its rows.

Every process draws for the whole batch and keeps its rows, every `count`-th from `rank` on. That
costs each of them the drawing of all, and makes a run independent of how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CPU = torch.device("cpu")


class RowGenerator(torch.Generator):
    """A generator on the CPU that knows whose rows are wanted, and on which device.

    A plain torch.Generator serves as well: all rows, on the CPU.
    """

    rank: int = 0
    count: int = 1
    place: torch.device = CPU

    def share(self, rank: int, count: int, place: torch.device) -> None:
        """From now on: rows rank, rank + count, … of a batch, put on `place`."""
        self.rank, self.count, self.place = rank, count, place


def draw(
    law: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, axis: int = 0
) -> Tensor:
    """`law(shape)` (torch.rand, torch.randn, …) of this process's rows, which lie along `axis`."""
    if not isinstance(generator, RowGenerator):
        return law(tuple(shape), generator=generator)
    whole = list(shape)
    whole[axis] *= generator.count
    drawn = law(tuple(whole), generator=generator)
    mine = torch.arange(generator.rank, whole[axis], generator.count)
    return (drawn if generator.count == 1 else drawn.index_select(axis, mine)).to(generator.place)


def integers(below: int, rows: int, generator: torch.Generator) -> Tensor:
    """(rows,) whole numbers in 0 .. below - 1."""
    return draw(lambda *a, **k: torch.randint(below, *a, **k), (rows,), generator)


def place_of(generator: torch.Generator) -> torch.device:
    """The device of what is drawn."""
    return generator.place if isinstance(generator, RowGenerator) else CPU


def count_of(generator: torch.Generator) -> int:
    """How many processes share a batch."""
    return generator.count if isinstance(generator, RowGenerator) else 1
