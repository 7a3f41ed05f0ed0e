"""SmolVLA (Shukor et al., 2025): `encode` and the expert's step.

The state is the last word of the prefix, which the others do not see. The expert's layers by turns
see prefix and earlier actions (with the prefix's own keys and values), and the prefix alone (with
keys and values that the expert projects from those: done in `encode`, once a frame).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.vla.attention import (
    frequencies_of,
    heads_of,
    mask_of,
    positions_of,
    rotation_of,
)
from ofp_edge.policy.vla.expert import PlainLayer, Seen
from ofp_edge.policy.vla.layers import RmsNorm, to_heads
from ofp_edge.policy.vla.parts import Pictures, actions_in, layer_of
from ofp_edge.policy.vla.prefix import Prefix, stacked
from ofp_edge.policy.vla.sizes import DecoderSizes, FlowSizes


class Cross(nn.Module):
    """Maps a layer's keys and values of the prefix to those that the expert attends to alone."""

    def __init__(self, sizes: DecoderSizes) -> None:
        super().__init__()
        self.kv_heads = sizes.kv_heads
        inputs = sizes.kv_heads * sizes.head_dim
        self.k = to_heads(inputs, sizes.kv_heads, sizes)
        self.v = to_heads(inputs, sizes.kv_heads, sizes)

    def forward(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, G, P, D) each to the same shapes."""
        return self._one(self.k, key), self._one(self.v, value)

    def _one(self, layer: nn.Module, x: Tensor) -> Tensor:
        batch, _, count, _ = x.shape
        return heads_of(layer(x.transpose(1, 2).reshape(batch, count, -1)), self.kv_heads)


class SmolVlaEncode(nn.Module):
    """Maps pictures, state, words and what of it is valid to the cache: see `forward`."""

    exact_buffers = ("frequencies",)
    frequencies: Tensor
    unseen: Tensor

    def __init__(
        self,
        pictures: Pictures,
        cameras: int,
        normalize: nn.ModuleList,
        state: int,
        language: DecoderSizes,
        crosses: tuple[bool, ...],
        length: int,
    ) -> None:
        super().__init__()
        self.pictures, self.cameras, self.normalize = pictures, cameras, normalize
        self.state = nn.Linear(state, language.width)
        self.prefix = Prefix(language)
        self.cross = nn.ModuleList(Cross(language) if x else nn.Identity() for x in crosses)
        self.crosses, self.scale = crosses, language.width**0.5
        frequencies = frequencies_of(language.head_dim, language.theta)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.hide_state(length)

    def hide_state(self, length: int) -> None:
        """Make the mask of a prefix of `length` words, whose last the others don't see."""
        unseen = torch.zeros(1, 1, length, length)
        unseen[..., :-1, -1] = mask_of(torch.zeros(1))
        self.register_buffer("unseen", unseen, persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return kv (B, layers * 2 * G, P, D) float32: of each layer its keys, then its values.

        inputs: pictures (B, 3, H, W), 0..1, one a camera; state fields (B, D) in their own units;
        words (B, N, W), rows of the table; valid (B, P) float32, 1 for what is there, of P = all
        cameras' words, then N, then 1 for the state.
        """
        images, rest = inputs[: self.cameras], inputs[self.cameras :]
        *fields, words, valid = rest
        state = torch.cat([f(x) for f, x in zip(self.normalize, fields, strict=True)], 1)
        wide = F.pad(state, (0, self.state.in_features - state.shape[1]))
        told = self.state(wide)[:, None]
        seen = self.pictures(images) * self.scale
        x = torch.cat([seen, words * self.scale, told], 1)
        rotation = rotation_of(positions_of(valid), self.frequencies)
        mask = mask_of(valid)[:, None, None, :] + self.unseen
        pairs = self.prefix(x, rotation, mask)
        steps = zip(pairs, self.crosses, self.cross, strict=True)
        return stacked([cross(*pair) if crosses else pair for pair, crosses, cross in steps])


class SmolVlaExpert(nn.Module):
    """The expert's step: a velocity of the whole chunk, in our time."""

    exact_buffers = ("frequencies",)
    frequencies: Tensor
    places: Tensor
    among: Tensor

    def __init__(
        self,
        sizes: DecoderSizes,
        flow: FlowSizes,
        crosses: tuple[bool, ...],
        horizon: int,
        *,
        causal: bool,
    ) -> None:
        super().__init__()
        self.sizes, self.horizon, self.crosses = sizes, horizon, crosses
        self.enter = nn.Linear(flow.width, sizes.width)
        self.mix = nn.Linear(sizes.width, sizes.width, bias=False)
        self.mixed = nn.Linear(sizes.width, sizes.width)
        self.layers = nn.ModuleList(PlainLayer(sizes, own=not x) for x in crosses)
        self.norm = RmsNorm(sizes.width, sizes.epsilon)
        self.leave = nn.Linear(sizes.width, flow.width)
        frequencies = frequencies_of(sizes.head_dim, sizes.theta)
        self.register_buffer("frequencies", frequencies, persistent=False)
        places = torch.arange(horizon, dtype=torch.float32)[None]
        self.register_buffer("places", places, persistent=False)
        seen = torch.ones(horizon, horizon)
        among = mask_of(seen.tril() if causal else seen)[None, None]
        self.register_buffer("among", among, persistent=False)

    def forward(self, z: Tensor, kv: Tensor, valid: Tensor, time: Tensor) -> Tensor:
        """Map z (B, H * M) normalised, kv and valid of `encode`, time (B, W) to u (B, H * M)."""
        x = self.mixed(F.silu(self.mix(self.enter(actions_in(z, self.horizon))) + time[:, None]))
        prefix = mask_of(valid)[:, None, None, :]
        wide = prefix.expand(-1, -1, self.horizon, -1)
        both = torch.cat([wide, self.among.expand(len(z), -1, -1, -1)], 3)
        after = valid.float().sum(1, keepdim=True)
        alone = rotation_of(self.places, self.frequencies)
        behind = rotation_of(self.places + after, self.frequencies)
        for number, (layer, crosses) in enumerate(zip(self.layers, self.crosses, strict=True)):
            pair = layer_of(kv, number, self.sizes)
            x = layer(x, Seen(*pair, alone, prefix) if crosses else Seen(*pair, behind, both))
        velocity: Tensor = self.leave(self.norm(x))
        return -velocity.flatten(1)
