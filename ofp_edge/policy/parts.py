"""What a policy network is made of, whoever trained it: encoder, times, the actions' scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.normalize import Affine


class Encoder(nn.Module):
    """Raw fields of one frame, in spec order -> (B, feature_dim)."""

    feature_dim: int


class Embedding(nn.Module):
    """Times t, r, each (B,) -> (B, size): what the trunk is given of them."""

    size: int

    def blind_to_steps(self) -> None:
        """Forget r - t, where only r = t was trained: the same embedding at r = t, whatever r.

        Raises PolicyError where it can't.
        """
        raise PolicyError("this network's time embedding can't be widened.")


class Actions(nn.Module):
    """Raw flat chunks (B, H*A) -> normalised, `back` the inverse. slope: (H*A,) raw units of one
    normalised unit."""

    slope: Tensor

    def back(self, flat: Tensor) -> Tensor:
        """Normalised -> raw."""
        raise NotImplementedError


class ScaleOffset(Actions):
    """raw = normalised * slope + offset."""

    offset: Tensor

    def __init__(self, affine: Affine, horizon: int) -> None:
        super().__init__()
        slope, offset = (
            torch.from_numpy(x).repeat(horizon)[None] for x in (affine.scale, affine.offset)
        )
        self.register_buffer("slope", slope, persistent=False)  # (1, H*A)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """See Actions."""
        return (raw - self.offset) / self.slope

    def back(self, flat: Tensor) -> Tensor:
        """See Actions."""
        return flat * self.slope + self.offset
