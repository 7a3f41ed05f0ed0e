"""Diffusion Policy's conditional U-Net over the steps of the chunk (Chi et al., RSS 2023).

Its one-dimensional convolutions are (1, k) ones here, which XNNPACK and INT8 take; the values are
the same. Names follow LeRobot's checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class UnetSizes:
    """Holds sizes. channels: of each level. groups: of its GroupNorm. step_features: length E of
    the step's embedding. scale_modulation: whether the condition scales too, or only shifts."""

    channels: tuple[int, ...]
    kernel: int
    groups: int
    step_features: int
    scale_modulation: bool


class StepEmbedding(nn.Module):
    """Maps step k (B,), whole or not, to (B, E)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pairs = size // 2
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.Mish(), nn.Linear(4 * size, size))

    def forward(self, k: Tensor) -> Tensor:
        """Return sines, then cosines, of k at frequencies from 1 down to 1e-4."""
        rate = math.log(10000) / (self.pairs - 1)
        frequencies = torch.exp(torch.arange(self.pairs, device=k.device) * -rate)
        angles = k[:, None] * frequencies[None]
        embedded: Tensor = self.mlp(torch.cat((angles.sin(), angles.cos()), 1))
        return embedded


def _block(inputs: int, outputs: int, kernel: int, groups: int) -> nn.ModuleDict:
    conv = nn.Conv2d(inputs, outputs, (1, kernel), padding=(0, kernel // 2))
    return nn.ModuleDict({"block": nn.Sequential(conv, nn.GroupNorm(groups, outputs), nn.Mish())})


class Residual(nn.Module):
    """Maps x (B, I, 1, H), condition (B, C) to (B, O, 1, H)."""

    def __init__(self, inputs: int, outputs: int, condition: int, config: UnetSizes) -> None:
        super().__init__()
        self.outputs, self.scaled = outputs, config.scale_modulation
        self.conv1 = _block(inputs, outputs, config.kernel, config.groups)
        size = 2 * outputs if self.scaled else outputs
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(condition, size))
        self.conv2 = _block(outputs, outputs, config.kernel, config.groups)
        same = inputs == outputs
        self.residual_conv = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Apply the block; the condition is the same for all steps."""
        out = self.conv1["block"](x)
        film = self.cond_encoder(condition).view(len(x), -1, 1, 1)
        if self.scaled:
            out = film[:, : self.outputs] * out + film[:, self.outputs :]
        else:
            out = out + film
        result: Tensor = self.conv2["block"](out) + self.residual_conv(x)
        return result


class ConditionalUnet(nn.Module):
    """Maps z (B, H*A), features (B, F), time (B, E) to (B, H*A): noise or sample, as trained."""

    def __init__(self, config: UnetSizes, horizon: int, action_dim: int, features: int):
        super().__init__()
        self.steps = horizon, action_dim
        condition = config.step_features + features
        sizes = [action_dim, *config.channels]
        pairs = list(zip(sizes, sizes[1:], strict=False))

        def residual(inputs: int, outputs: int) -> Residual:
            return Residual(inputs, outputs, condition, config)

        def level(a: int, b: int, last: nn.Module) -> nn.ModuleList:
            return nn.ModuleList([residual(a, b), residual(b, b), last])

        self.down_modules = nn.ModuleList(
            level(
                a,
                b,
                nn.Identity() if i == len(pairs) - 1 else nn.Conv2d(b, b, (1, 3), (1, 2), (0, 1)),
            )
            for i, (a, b) in enumerate(pairs)
        )
        top = sizes[-1]
        self.mid_modules = nn.ModuleList([residual(top, top), residual(top, top)])
        self.up_modules = nn.ModuleList(
            level(2 * b, a, nn.ConvTranspose2d(a, a, (1, 4), (1, 2), (0, 1)))
            for a, b in reversed(pairs[1:])
        )
        first = sizes[1]
        self.final_conv = nn.ModuleList(
            # Both projects build it with eight groups, whatever the others have.
            [_block(first, first, config.kernel, 8), nn.Conv2d(first, action_dim, 1)]
        )

    def forward(self, z: Tensor, features: Tensor, time: Tensor) -> Tensor:
        """Run the U-Net; see the class."""
        condition = torch.cat([time, features], 1)
        x = z.view(len(z), *self.steps).transpose(1, 2).unsqueeze(2)  # (B, A, 1, H)
        kept = []
        for module in self.down_modules:
            first, second, shorten = module.children()
            x = second(first(x, condition), condition)
            kept.append(x)
            x = shorten(x)
        for module in self.mid_modules:
            x = module(x, condition)
        for module in self.up_modules:
            first, second, lengthen = module.children()
            x = torch.cat([x, kept.pop()], 1)
            x = lengthen(second(first(x, condition), condition))
        for module in self.final_conv:
            x = module["block"](x) if isinstance(module, nn.ModuleDict) else module(x)
        out: Tensor = x.squeeze(2).transpose(1, 2).flatten(1)
        return out
