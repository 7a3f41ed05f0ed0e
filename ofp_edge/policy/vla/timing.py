"""Time as the expert has it, of t and r, and constant wherever a chunk is made.

The checkpoints' time runs backwards, from 1 (noise) to 0 (data); ours is 1 minus theirs, and the
velocity changes its sign. To their embedding of t a part that sees r - t is added, before the first
activation; it starts as 0 and has no bias, and at r = t it is 0 whatever it has learned.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.parts import Embedding
from ofp_edge.policy.trunks.trunk import zero
from ofp_edge.policy.vla.sizes import FlowSizes


def sines(times: Tensor, size: int, flow: FlowSizes) -> Tensor:
    """Embed times (B,) as sines and cosines (B, size), float32, of geometric periods."""
    share = torch.linspace(0, 1, size // 2, dtype=torch.float64, device=times.device)
    ratio = flow.longest_period / flow.shortest_period
    angles = times.double()[:, None] * (2 * math.pi / (flow.shortest_period * ratio**share))
    return torch.cat([angles.sin(), angles.cos()], 1).float()


class Time(Embedding):
    """Maps t, r (B,) to (B, width), what is added to each action before the first activation:
    `inner(e(1 - t)) + step(e(r - t) - e(0))`."""

    def __init__(self, width: int, flow: FlowSizes) -> None:
        super().__init__()
        self.width = self.size = width
        self.flow = flow
        self.inner = nn.Linear(width, width)
        self.step = nn.Linear(width, width, bias=False)
        zero(self.step)

    def inside(self, t: Tensor, r: Tensor) -> Tensor:
        """Return the sum (B, width) before the first activation."""
        length = r - t
        far = sines(length, self.width, self.flow)
        still = sines(torch.zeros_like(length), self.width, self.flow)
        found: Tensor = self.inner(sines(1 - t, self.width, self.flow)) + self.step(far - still)
        return found

    def forward(self, t: Tensor, r: Tensor) -> Tensor:
        """Embed the times; see the class."""
        return self.inside(t, r)

    def blind_to_steps(self) -> None:
        """Forget what was learned of r - t; see Embedding."""
        zero(self.step)


class AdaptiveTime(Time):
    """Maps t, r (B,) to scale, shift and gate of every norm, (B, norms * 3 * width):
    `modulate(silu(out(silu(inside(t, r)))))`."""

    def __init__(self, width: int, norms: int, flow: FlowSizes) -> None:
        super().__init__(width, flow)
        self.out = nn.Linear(width, width)
        self.modulate = nn.Linear(width, norms * 3 * width)
        self.size = norms * 3 * width

    def forward(self, t: Tensor, r: Tensor) -> Tensor:
        """Embed the times; see the class."""
        condition = F.silu(self.out(F.silu(self.inside(t, r))))
        return cast(Tensor, self.modulate(condition))
