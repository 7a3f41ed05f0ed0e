"""`mlp`: a residual MLP over the flat action chunk, modulated (FiLM) by features and time.

Only linear layers, SiLU, products and sums: everything delegates to XNNPACK and has a TensorRT
kernel. All tensors are 2-D, so no reshape stands in the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.trunks.trunk import Trunk, TrunkConfig, film, zero


@dataclass(frozen=True)
class MlpConfig(TrunkConfig):
    """The sizes that the MLP has: residual blocks of `width` over the flat chunk."""

    kind: ClassVar[str] = "mlp"
    width: int
    blocks: int


class Block(nn.Module):
    """Maps h (B, W), condition (B, C) to h + f(h, condition); it starts as the identity."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.width = width
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)
        self.film = film(condition, width)
        zero(self.down)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Apply the block, with scale and shift from the condition."""
        film = self.film(condition)
        x = self.up(F.silu(h)) * film[:, : self.width] + film[:, self.width :]
        out: Tensor = h + self.down(F.silu(x))
        return out


class FilmMlp(Trunk):
    """The MLP trunk; see Trunk."""

    sizes: ClassVar[type[TrunkConfig]] = MlpConfig

    def __init__(
        self, sizes: MlpConfig, condition: int, horizon: int, action_dim: int, features: int
    ) -> None:
        super().__init__(sizes, condition, horizon, action_dim, features)
        chunk_size = horizon * action_dim
        self.inlet = nn.Linear(chunk_size, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes.width, condition) for _ in range(sizes.blocks))
        self.outlet = nn.Linear(sizes.width, chunk_size)
        zero(self.outlet)
        self.steps = horizon, action_dim

    def hear(self) -> None:
        """Take a committed prefix; see Trunk."""
        horizon, action_dim = self.steps
        self.told = nn.Linear(horizon * (action_dim + 1), self.inlet.out_features, bias=False)
        zero(self.told)

    def forward(
        self,
        z: Tensor,
        features: Tensor,
        time: Tensor,
        told: Tensor | None = None,
    ) -> Tensor:
        """Compute u; see Trunk."""
        condition = self.condition(features, time)
        h = self.inlet(z)
        if told is not None:
            h = h + self.told(told)
        for block in self.blocks:
            h = block(h, condition)
        u: Tensor = self.outlet(F.silu(h))
        return u


TRUNK = FilmMlp
