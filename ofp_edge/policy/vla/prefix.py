"""The language model over the prefix: keys and values of every layer, and nothing more.

Of the last layer only keys and values are read, so it has no other part.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ofp_edge.policy.vla.attention import attend, heads_of, rotate
from ofp_edge.policy.vla.layers import GatedMlp, RmsNorm, to_heads
from ofp_edge.policy.vla.sizes import DecoderSizes

Rotation = tuple[Tensor, Tensor]


class LastLayer(nn.Module):
    """Maps x (B, P, W) to keys, rotated, and values, both (B, G, P, D)."""

    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__()
        self.kv_heads = sizes.kv_heads
        self.norm1 = RmsNorm(sizes.width, sizes.epsilon)
        self.k = to_heads(sizes.width, sizes.kv_heads, sizes)
        self.v = to_heads(sizes.width, sizes.kv_heads, sizes)

    def keys_values(self, seen: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """Project what the norm gave."""
        key = rotate(heads_of(self.k(seen), self.kv_heads), rotation)
        return key, heads_of(self.v(seen), self.kv_heads)

    def forward(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """Compute them; see the class."""
        return self.keys_values(self.norm1(x), rotation)


class Layer(LastLayer):
    """A whole layer: it gives x (B, P, W) for the next one too."""

    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__(sizes)
        self.heads = sizes.heads
        self.q = to_heads(sizes.width, sizes.heads, sizes)
        self.out = nn.Linear(sizes.heads * sizes.head_dim, sizes.width, bias=False)
        self.norm2 = RmsNorm(sizes.width, sizes.epsilon)
        self.mlp = GatedMlp(sizes)

    def through(
        self, x: Tensor, rotation: Rotation, mask: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the next x, and keys and values."""
        seen = self.norm1(x)
        key, value = self.keys_values(seen, rotation)
        query = rotate(heads_of(self.q(seen), self.heads), rotation)
        x = x + self.out(attend(query, key, value, mask))
        return x + self.mlp(self.norm2(x)), (key, value)


class Prefix(nn.Module):
    """Maps embedded words x (B, P, W) to the keys and values of every layer."""

    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers - 1))
        self.last = LastLayer(sizes)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return (key, value), (B, G, P, D), of each layer; mask: broadcast to (B, H, P, P)."""
        found = []
        for layer in self.layers:
            x, pair = layer.through(x, rotation, mask)  # type: ignore[operator]
            found.append(pair)
        return [*found, self.last(x, rotation)]


def stacked(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Lay keys and values of all layers end to end: (B, layers * 2 * G, P, D)."""
    return torch.cat([x for pair in pairs for x in pair], 1)
