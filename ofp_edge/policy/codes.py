"""A code says which of several ways a jump takes, so that no chunk lies between two of them.

Where two modes part, the one-step map has to change from one to the other within a hair's breadth
of noise, and a smooth network answers there with what lies between them. A choice among a few codes
is no average: a chooser reads the code from z and the features, and the code's embedding, added to
that of time, tells the trunk where to go. The codes are the centres that k-means finds among the
demonstrated chunks; in training a jump's code is the centre nearest to where the network's own
velocity leads (methods/rollout.py). The velocity itself, at r = t, is told none: it leads to the
mean of what may follow from z, which a start from the last plan may well take (docs/starts.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.prefix import Prefix
from ofp_edge.policy.trunks.mlp import FilmMlp, MlpConfig
from ofp_edge.policy.trunks.trunk import zero

if TYPE_CHECKING:
    from ofp_edge.policy.network import PolicyNetwork

CHOICE = (
    "codes.chooser.outlet",
    "codes.embedding",
)  # the layers of `act` before and after the choice
_SHARPNESS = 1000.0  # of the chances, before a second softmax: half precision holds 65504
_BLOCKS = 2
_WEIGHT = 0.1  # of the cross-entropy: it counts where gradients are clipped together, only there
_ROUNDS = 30


class Chooser(FilmMlp):
    """Maps z, features and time, as a trunk takes them, to (B, codes) logits."""

    def __init__(
        self, codes: int, condition: int, horizon: int, action_dim: int, features: int
    ) -> None:
        super().__init__(MlpConfig(condition, _BLOCKS), condition, horizon, action_dim, features)
        self.outlet = nn.Linear(condition, codes)
        zero(self.outlet)


class Codes(nn.Module):
    """Adds to the embedding of time that of the code that it chooses. New ones change nothing.

    centres: (codes, H*A) normalised chunks, which `nearest` compares with. Deployed it is a softmax
    so steep that it is an argmax, which every engine takes.
    """

    centres: Tensor

    def __init__(
        self, count: int, condition: int, horizon: int, action_dim: int, features: int
    ) -> None:
        super().__init__()
        self.count = count
        self.chooser = Chooser(count, condition, horizon, action_dim, features)
        self.embedding = nn.Linear(count, condition, bias=False)
        zero(self.embedding)
        self.register_buffer("centres", torch.zeros(count, horizon * action_dim))

    def forward(
        self, z: Tensor, features: Tensor, time: Tensor, jumps: Tensor, *told: Tensor
    ) -> Tensor:
        """Return time (B, C) with the chosen code's embedding. jumps (B, 1): 1 of a jump; 0 of the
        velocity, which has none. told: as Trunk takes it."""
        choice = jumps * chosen(self.chooser(z, features, time, *told))
        shifted: Tensor = time + self.embedding(choice)
        return shifted

    def nearest(self, chunks: Tensor) -> Tensor:
        """Return the number of the centre nearest to each normalised chunk (B, H*A): (B,)."""
        return torch.cdist(chunks, self.centres).argmin(1)

    def one_hot(self, numbers: Tensor) -> Tensor:
        """Return codes by number (B,) as the embedding takes them: (B, codes)."""
        return F.one_hot(numbers, self.count).to(self.centres.dtype)


def chosen(logits: Tensor) -> Tensor:
    """Return the code of the largest logit, (B, codes): 1 there, else 0; a mean of equal ones.

    A softmax of the logits' own softmax, so that no engine and no precision overflows, whatever the
    logits are: what is far from all training can make thousands of them.
    """
    return torch.softmax(_SHARPNESS * torch.softmax(logits, 1), 1)


def choice_loss(
    network: PolicyNetwork, z: Tensor, t: Tensor, r: Tensor, features: Tensor, numbers: Tensor,
    prefix: Prefix | None,
) -> Tensor:  # fmt: skip
    """Return the weighted cross-entropy of the chooser against codes by number (B,). It trains the
    chooser alone: neither the features nor the embedding of time bend for its sake."""
    logits = network.code_logits(z, t, r, features.detach(), prefix)
    return _WEIGHT * F.cross_entropy(logits, numbers)


def k_means(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Find `count` centres of points (n, K): (count, K). Lloyd's rounds from k-means++ (Arthur and
    Vassilvitskii, SODA 2007). Fewer different points than centres repeat themselves."""
    centres = points[torch.randint(len(points), (1,), generator=generator)]
    while len(centres) < count:
        square = torch.cdist(points, centres).amin(1).square() + 1e-12
        centres = torch.cat([centres, points[torch.multinomial(square, 1, generator=generator)]])
    for _ in range(_ROUNDS):
        near = torch.cdist(points, centres).argmin(1)
        sizes = torch.bincount(near, minlength=count)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, near, points)
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
    return centres
