"""The layers of the action expert, which read the prefix's keys and values.

SmolVLA's are plain and see the prefix by turns with their own actions and alone; those of pi0.5 all
see both, and their norms follow the time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ofp_edge.policy.vla.attention import attend, heads_of, rotate
from ofp_edge.policy.vla.layers import GatedMlp, RmsNorm, normed, to_heads
from ofp_edge.policy.vla.sizes import DecoderSizes


class Seen(NamedTuple):
    """What a layer's actions see. key, value: (B, G, P, D) of the prefix; rotation: of the actions,
    of `rotation_of`; mask: broadcast to (B, H, N, P), or (B, H, N, P + N) with the actions."""

    key: Tensor
    value: Tensor
    rotation: tuple[Tensor, Tensor]
    mask: Tensor


class Attending(nn.Module):
    """The attention of N actions. own: they see each other beside the prefix."""

    def __init__(self, sizes: DecoderSizes, *, own: bool) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.own = sizes.heads, sizes.kv_heads, own
        self.q = to_heads(sizes.width, sizes.heads, sizes)
        if own:
            self.k = to_heads(sizes.width, sizes.kv_heads, sizes)
            self.v = to_heads(sizes.width, sizes.kv_heads, sizes)
        self.out = nn.Linear(sizes.heads * sizes.head_dim, sizes.width, bias=False)
        self.mlp = GatedMlp(sizes)

    def attended(self, x: Tensor, seen: Seen) -> Tensor:
        """Map x (B, N, W), already normed, to the same shape."""
        query = rotate(heads_of(self.q(x), self.heads), seen.rotation)
        key, value = seen.key, seen.value
        if self.own:
            ours = rotate(heads_of(self.k(x), self.kv_heads), seen.rotation)
            key = torch.cat([key, ours], 2)
            value = torch.cat([value, heads_of(self.v(x), self.kv_heads)], 2)
        found: Tensor = self.out(attend(query, key, value, seen.mask))
        return found


class PlainLayer(Attending):
    """A decoder layer whose norms are fixed."""

    def __init__(self, sizes: DecoderSizes, *, own: bool) -> None:
        super().__init__(sizes, own=own)
        self.norm1, self.norm2 = (RmsNorm(sizes.width, sizes.epsilon) for _ in range(2))

    def forward(self, x: Tensor, seen: Seen) -> Tensor:
        """Map x (B, N, W) to the same shape."""
        x = x + self.attended(self.norm1(x), seen)
        found: Tensor = x + self.mlp(self.norm2(x))
        return found


class AdaptiveLayer(Attending):
    """A decoder layer whose two norms get scale, shift and gate of the time (adaRMS)."""

    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__(sizes, own=True)
        self.epsilon = sizes.epsilon

    def forward(self, x: Tensor, seen: Seen, modulation: Tensor) -> Tensor:
        """Map x (B, N, W) to the same shape; modulation: (B, 2 * 3 * W), of both norms."""
        first, second = modulation[:, None].chunk(2, 2)
        inner, gate = modulated(x, first, self.epsilon)
        x = x + self.attended(inner, seen) * gate
        inner, gate = modulated(x, second, self.epsilon)
        found: Tensor = x + self.mlp(inner) * gate
        return found


def modulated(x: Tensor, modulation: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return x (B, N, W) normed, scaled and shifted, and the gate (B, 1, W). modulation: (B, 1,
    3 W), scale, shift and gate."""
    scale, shift, gate = modulation.chunk(3, 2)
    return (normed(x, epsilon) * (1 + scale) + shift).to(x.dtype), gate
