"""Trunk: what all trunks share, their sizes, their call, and the condition of features and time."""

from __future__ import annotations

import math
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.errors import PolicyError
from ofp_edge.policy.parts import Embedding


class TrunkConfig:
    """The sizes of a trunk: a frozen dataclass of whole numbers and of lists of them.

    kind: its name in config.json.
    """

    kind: ClassVar[str]


class TimeEmbedding(Embedding):
    """Maps times t, r, each (B,), to (B, condition). Deployed, it is rows of a constant table."""

    frequencies: Tensor

    def __init__(self, time_features: int, condition: int) -> None:
        super().__init__()
        octaves = torch.arange(time_features // 4)
        self.register_buffer("frequencies", math.pi / 2 * 2.0**octaves, persistent=False)
        self.mlp = nn.Sequential(
            nn.Linear(time_features, condition),
            nn.SiLU(),
            nn.Linear(condition, condition),
        )
        self.size = condition

    def forward(self, t: Tensor, r: Tensor) -> Tensor:
        """Embed the times as (t, r - t): the position and the length of the step."""
        angles = torch.cat([t[:, None] * self.frequencies, (r - t)[:, None] * self.frequencies], 1)
        embedded: Tensor = self.mlp(torch.cat([angles.sin(), angles.cos()], 1))
        return embedded

    def blind_to_steps(self) -> None:
        """Set the weights of r - t to 0. At r = t its sines are 0, so their weights were never
        trained, and its cosines are 1: the bias takes over what they added."""
        first, count = cast(nn.Linear, self.mlp[0]), len(self.frequencies)
        sines, cosines = slice(count, 2 * count), slice(3 * count, 4 * count)
        with torch.no_grad():
            first.bias.add_(first.weight[:, cosines].sum(1))
            first.weight[:, sines] = 0
            first.weight[:, cosines] = 0


class Trunk(nn.Module):
    """Maps z (B, H*A) time-major, features (B, To*F), time (B, C) to u (B, H*A).

    A new one is the constant 0. `forward` takes the three in this order; `time` is the output of
    TimeEmbedding. Every trunk delegates to XNNPACK as a whole, in one subgraph. After `hear` it
    takes one more, what is committed (B, H*(A+1)): a step its action and a 1, or zeros.

    sizes: the class of its sizes. All trunks are made from the same arguments, in this order: their
    sizes, the length C of the time embedding, horizon, action_dim and the length To*F of all
    frames' features. They raise PolicyError where the sizes do not fit the chunk.
    """

    sizes: ClassVar[type[TrunkConfig]]

    def __init__(
        self, sizes: TrunkConfig, condition: int, horizon: int, action_dim: int, features: int
    ) -> None:
        super().__init__()
        self.observe = nn.Linear(features, condition)
        self.mix = nn.Linear(condition, condition)

    def hear(self) -> None:
        """Add the layers for a committed prefix, which start at 0: untrained, it changes nothing.
        Raises PolicyError where the trunk has none."""
        raise PolicyError(f"a trunk of kind {self.sizes.kind} takes no committed prefix.")

    def condition(self, features: Tensor, time: Tensor) -> Tensor:
        """Return the (B, C) vector that modulates every block."""
        return F.silu(self.mix(F.silu(self.observe(features) + time)))


def zero(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Start a layer as the constant 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def film(condition: int, width: int) -> nn.Linear:
    """Make the layer for scale and shift of `width` channels (Perez et al., AAAI 2018).

    The scale starts at 1 in the bias: one addition less in the deployed graph.
    """
    layer = nn.Linear(condition, 2 * width)
    with torch.no_grad():
        layer.bias[:width] += 1
    return layer
