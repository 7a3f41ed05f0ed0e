"""The trunk: a residual MLP over the flat action chunk, modulated (FiLM) by features and time.

FiLM: Perez et al., AAAI 2018. Only linear layers, SiLU, products and sums: everything delegates to
XNNPACK and has a TensorRT kernel. All tensors are 2-D, so no reshape stands in the graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.config import NetworkConfig


class TimeEmbedding(nn.Module):
    """Times t, r, each (B,) -> (B, condition). At deployment: rows of a constant table."""

    frequencies: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        octaves = torch.arange(config.time_features // 4)
        self.register_buffer("frequencies", math.pi / 2 * 2.0**octaves, persistent=False)
        self.mlp = nn.Sequential(
            nn.Linear(config.time_features, config.condition),
            nn.SiLU(),
            nn.Linear(config.condition, config.condition),
        )

    def forward(self, t: Tensor, r: Tensor) -> Tensor:
        """Seen as (t, r - t): where one is and how far the step goes."""
        angles = torch.cat([t[:, None] * self.frequencies, (r - t)[:, None] * self.frequencies], 1)
        embedded: Tensor = self.mlp(torch.cat([angles.sin(), angles.cos()], 1))
        return embedded


class Block(nn.Module):
    """h (B, W), condition (B, C) -> h + f(h, condition); starts as the identity."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.width = width
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)
        self.film = nn.Linear(condition, 2 * width)
        # The scale starts at 1 in the bias: one addition less in the deployed graph.
        with torch.no_grad():
            self.film.bias[:width] += 1
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Scale and shift come from the condition."""
        film = self.film(condition)
        x = self.up(F.silu(h)) * film[:, : self.width] + film[:, self.width :]
        out: Tensor = h + self.down(F.silu(x))
        return out


class FilmMlp(nn.Module):
    """z (B, H*A), features (B, To*F), time (B, C) -> u (B, H*A); starts as the constant 0."""

    def __init__(self, config: NetworkConfig, chunk_size: int, features: int) -> None:
        super().__init__()
        self.observe = nn.Linear(features, config.condition)
        self.mix = nn.Linear(config.condition, config.condition)
        self.inlet = nn.Linear(chunk_size, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.condition) for _ in range(config.blocks)
        )
        self.outlet = nn.Linear(config.width, chunk_size)
        nn.init.zeros_(self.outlet.weight)
        nn.init.zeros_(self.outlet.bias)

    def forward(self, z: Tensor, features: Tensor, time: Tensor) -> Tensor:
        """`time` is what TimeEmbedding gives."""
        condition = F.silu(self.mix(F.silu(self.observe(features) + time)))
        h = self.inlet(z)
        for block in self.blocks:
            h = block(h, condition)
        u: Tensor = self.outlet(F.silu(h))
        return u
