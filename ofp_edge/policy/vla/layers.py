"""What decoder layers consist of: RMS norm, gated MLP, projections to heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.vla.sizes import DecoderSizes


def normed(x: Tensor, epsilon: float) -> Tensor:
    """Divide x (..., W) by its root mean square, in float32."""
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)


class RmsNorm(nn.Module):
    """Divides by the root mean square and scales (Zhang and Sennrich, NeurIPS 2019)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        return (normed(x, self.epsilon) * self.weight).to(x.dtype)


class GatedMlp(nn.Module):
    """Maps (..., width) to the same shape: `down(act(gate(x)) up(x))`."""

    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__()
        self.gate = nn.Linear(sizes.width, sizes.hidden, bias=False)
        self.up = nn.Linear(sizes.width, sizes.hidden, bias=False)
        self.down = nn.Linear(sizes.hidden, sizes.width, bias=False)
        self.silu = sizes.activation == "silu"

    def forward(self, x: Tensor) -> Tensor:
        """Compute it; see the class."""
        gate = self.gate(x)
        gate = F.silu(gate) if self.silu else F.gelu(gate, approximate="tanh")
        found: Tensor = self.down(gate * self.up(x))
        return found


def to_heads(inputs: int, heads: int, sizes: DecoderSizes) -> nn.Linear:
    """Make the projection of (..., inputs) to `heads` heads."""
    return nn.Linear(inputs, heads * sizes.head_dim, bias=False)
