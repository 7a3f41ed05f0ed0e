"""Windows of several datasets, drawn from each by its share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.mixture import Mixture
from ofp_edge.policy.draws import draw
from ofp_edge.spec import PolicySpec
from ofp_edge.train.batches import Batches, Raw


class MixedBatches(Batches):
    """Batches of a mixture. Windows are numbered through, one dataset after the other."""

    def __init__(self, mixture: Mixture, episodes: Sequence[int], spec: PolicySpec) -> None:
        self.spec = spec
        self._parts = [Batches(x, own, spec) for x, own in mixture.of_each(episodes)]
        self._until = torch.cumsum(torch.tensor(mixture.shares, dtype=torch.float64), 0)
        self._sizes = torch.tensor([len(x) for x in self._parts])
        self._ends = torch.cumsum(self._sizes, 0)
        self._positions = self._parts[0]._positions

    def __len__(self) -> int:
        return int(self._ends[-1])

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a dataset by its share, then one of its windows, `count` times."""
        which, where = draw(_uniform, (count, 2), generator).cpu().T
        part = torch.searchsorted(self._until, which * self._until[-1], right=True)
        part = part.clamp(max=len(self._parts) - 1)
        own = (where * self._sizes[part]).long()
        rows: Tensor = self._ends[part] - self._sizes[part] + own
        return rows

    def read(self, rows: Tensor) -> Raw:
        """As Batches.read."""
        part = torch.searchsorted(self._ends, rows, right=True)
        order = torch.argsort(part, stable=True)
        back = torch.argsort(order)
        found = [
            batches.read(rows[part == number] - self._ends[number] + self._sizes[number])
            for number, batches in enumerate(self._parts)
        ]
        seen = [torch.cat(x)[back] for x in zip(*(x[0] for x in found), strict=True)]
        return seen, torch.cat([x[1] for x in found])[back]

    def actions(self, rows: Tensor) -> Tensor:
        """As Batches.actions."""
        return torch.cat([x.chunks for x in self._parts])[rows]


def _uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float64)


def batches_of(data: Dataset | Mixture, episodes: Sequence[int], spec: PolicySpec) -> Batches:
    """Return the windows of these episodes."""
    if isinstance(data, Mixture):
        return MixedBatches(data, episodes, spec)
    return Batches(data, episodes, spec)
