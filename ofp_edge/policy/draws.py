"""Random numbers for a batch, the same ones however many processes share its rows.

Every process draws for the whole batch and keeps every `count`-th row from its own number on. That
costs each of them the drawing of all, and makes a run independent of how many there are. The first
rows of a batch are the first of every process: a method may treat a share of them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

CPU = torch.device("cpu")


class RowGenerator(torch.Generator):
    """A generator on the CPU that knows which rows are wanted, and on which device.

    A plain torch.Generator serves as well: all rows, on the CPU.
    """

    rank: int = 0
    count: int = 1
    place: torch.device = CPU

    def share(self, rank: int, count: int, place: torch.device) -> None:
        """Draw, from now on, the rows of process `rank` of `count`, and put them on `place`."""
        self.rank, self.count, self.place = rank, count, place


def draw(
    law: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, axis: int = 0
) -> Tensor:
    """Draw `law(shape)` (torch.rand, torch.randn, …), this process's rows alone, along `axis`."""
    return _drawn(law, shape, generator, axis).to(place_of(generator))


def integers(below: int, rows: int, generator: torch.Generator) -> Tensor:
    """Draw (rows,) whole numbers in 0 .. below - 1."""
    return indices(below, rows, generator).to(place_of(generator))


def indices(below: int, rows: int, generator: torch.Generator) -> Tensor:
    """Draw like `integers`, but leave the numbers on the CPU, where the data is."""
    return _drawn(partial(torch.randint, below), (rows,), generator, 0)


def place_of(generator: torch.Generator) -> torch.device:
    """Return the device that draws are put on."""
    return generator.place if isinstance(generator, RowGenerator) else CPU


def _drawn(
    law: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, axis: int
) -> Tensor:
    if not isinstance(generator, RowGenerator) or generator.count == 1:
        return law(tuple(shape), generator=generator)
    rows, count = shape[axis], generator.count
    whole = law((*shape[:axis], rows * count, *shape[axis + 1 :]), generator=generator)
    return whole.index_select(axis, torch.arange(generator.rank, rows * count, count))
