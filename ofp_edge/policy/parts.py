"""The parts of every policy network: encoder, time embedding, and the scale of the actions."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.normalize import Affine


class Encoder(nn.Module):
    """Maps the raw fields of one frame, in spec order, to (B, feature_dim)."""

    feature_dim: int

    @property
    def compiled(self) -> nn.Module:
        """The part that torch.compile takes: all of it, unless it does more than arithmetic."""
        return self


class Embedding(nn.Module):
    """Maps times t, r, each (B,), to (B, size), the trunk's time input."""

    size: int

    def blind_to_steps(self) -> None:
        """Forget r - t, where only r = t was trained: keep the embedding of r = t whatever r is.

        Raises PolicyError where that is impossible.
        """
        raise PolicyError("this network's time embedding can't be widened.")


class Untimed(Embedding):
    """The time input of a deterministic network: it has none."""

    size = 0

    def forward(self, t: Tensor, r: Tensor) -> Tensor:
        """Return (B, 0)."""
        return t[:, None][:, :0]


class Actions(nn.Module, ABC):
    """Maps raw flat chunks (B, H*A) to normalised ones; `back` is the inverse. slope: (H*A,) raw
    units of one normalised unit."""

    slope: Tensor

    @property
    def counted(self) -> Tensor | None:
        """See PolicyNetwork."""
        return None

    @abstractmethod
    def back(self, flat: Tensor) -> Tensor:
        """Return normalised actions in raw units."""


class ScaleOffset(Actions):
    """Scales actions by raw = normalised * slope + offset."""

    offset: Tensor

    def __init__(self, affine: Affine, horizon: int) -> None:
        super().__init__()
        slope, offset = (
            torch.from_numpy(x).repeat(horizon)[None] for x in (affine.scale, affine.offset)
        )
        self.register_buffer("slope", slope, persistent=False)  # (1, H*A)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Normalise raw actions; see Actions."""
        return (raw - self.offset) / self.slope

    def back(self, flat: Tensor) -> Tensor:
        """Return actions in raw units; see Actions."""
        return flat * self.slope + self.offset
