"""`unet`: a conditional U-Net over the steps of the chunk, after Diffusion Policy, for the edge.

Chi et al., RSS 2023, with three changes, so that XNNPACK takes it whole and INT8 pays:
convolutions are Conv2d with (1, k) kernels on (B, C, 1, H), which both XNNPACK and TensorRT
quantise cleanly; GroupNorm and Mish are gone, each residual branch starts at 0 instead (Fixup,
Zhang et al., ICLR 2019) and SiLU stands before each convolution; the flat chunk enters and leaves
by convolutions whose stride is one step, so no transposition stands in the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.errors import PolicyError
from ofp_edge.policy.trunks.trunk import Trunk, TrunkConfig, film, zero


@dataclass(frozen=True)
class UnetConfig(TrunkConfig):
    """Level i has channels[i]; the first has the chunk's full length, each next half of it.

    blocks: residual blocks a level, on the way down and up. kernel: steps that a convolution sees.
    """

    kind: ClassVar[str] = "unet"
    channels: tuple[int, ...]
    blocks: int
    kernel: int


class Block(nn.Module):
    """Maps h (B, I, 1, H), condition (B, C) to skip(h) + f (B, O, 1, H); f of both starts at 0."""

    def __init__(self, inputs: int, outputs: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.outputs = outputs
        size, padding = (1, kernel), (0, kernel // 2)
        self.first = nn.Conv2d(inputs, outputs, size, padding=padding)
        self.second = nn.Conv2d(outputs, outputs, size, padding=padding)
        self.film = film(condition, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        zero(self.second)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Apply the block; scale and shift come from the condition, the same for all steps."""
        film = self.film(condition).view(len(h), -1, 1, 1)
        x = self.first(F.silu(h)) * film[:, : self.outputs] + film[:, self.outputs :]
        out: Tensor = self.skip(h) + self.second(F.silu(x))
        return out


class Level(nn.Module):
    """A level of `count` blocks at one length; the first block takes `inputs` channels."""

    def __init__(self, count: int, inputs: int, outputs: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(inputs if i == 0 else outputs, outputs, condition, kernel) for i in range(count)
        )

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Apply the blocks one after another."""
        for block in self.blocks:
            h = block(h, condition)
        return h


class FilmUnet(Trunk):
    """The U-Net trunk; see Trunk. Levels but the last halve the steps; going up doubles them."""

    sizes: ClassVar[type[TrunkConfig]] = UnetConfig

    def __init__(
        self, sizes: UnetConfig, condition: int, horizon: int, action_dim: int, features: int
    ) -> None:
        super().__init__(sizes, condition, horizon, action_dim, features)
        if sizes.kernel % 2 == 0:
            raise PolicyError(
                f"config.network.trunk.kernel: expected an odd number of steps, got {sizes.kernel}."
            )
        halvings = len(sizes.channels) - 1
        if horizon % 2**halvings:
            raise PolicyError(
                f"a U-Net of {halvings + 1} levels halves the chunk {halvings} times: expected a "
                f"horizon that {2**halvings} divides, got {horizon}."
            )
        channels, kernel = sizes.channels, sizes.kernel
        pairs = list(zip(channels, channels[1:], strict=False))

        def level(inputs: int, outputs: int) -> Level:
            return Level(sizes.blocks, inputs, outputs, condition, kernel)

        step = (1, action_dim)
        self.inlet = nn.Conv2d(1, channels[0], step, stride=step)
        self.down = nn.ModuleList(level(a, a) for a, _ in pairs)
        self.shorten = nn.ModuleList(
            nn.Conv2d(a, b, (1, 3), stride=(1, 2), padding=(0, 1)) for a, b in pairs
        )
        self.middle = level(channels[-1], channels[-1])
        self.lengthen = nn.ModuleList(
            nn.ConvTranspose2d(b, a, (1, 4), stride=(1, 2), padding=(0, 1))
            for a, b in reversed(pairs)
        )
        self.up = nn.ModuleList(level(2 * a, a) for a, _ in reversed(pairs))
        self.outlet = nn.ConvTranspose2d(channels[0], 1, step, stride=step)
        zero(self.outlet)
        self.step = step

    def hear(self) -> None:
        """Take a committed prefix; see Trunk."""
        step = (1, self.step[1] + 1)
        self.told = nn.Conv2d(1, self.inlet.out_channels, step, stride=step, bias=False)
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
        h = self.inlet(z.view(len(z), 1, 1, -1))  # (B, C0, 1, H)
        if told is not None:
            h = h + self.told(told.view(len(z), 1, 1, -1))
        kept = []
        for level, shorten in zip(self.down, self.shorten, strict=True):
            h = level(h, condition)
            kept.append(h)
            h = shorten(h)
        h = self.middle(h, condition)
        for lengthen, level in zip(self.lengthen, self.up, strict=True):
            h = level(torch.cat([lengthen(h), kept.pop()], 1), condition)
        u: Tensor = self.outlet(F.silu(h))
        return u.flatten(1)


TRUNK = FilmUnet
