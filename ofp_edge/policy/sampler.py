"""Sampling with the average-velocity network: one step, a ladder of K, warm start, refinement.

All chunks are normalised and flat, (B, H*A); features (B, To*F). One set of weights serves any
number of function evaluations (nfe).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ofp_edge.policy.network import PolicyNetwork


def jump(network: PolicyNetwork, features: Tensor, z: Tensor, t: float, r: float) -> Tensor:
    """One evaluation: `z_r = z + (r - t) u(z, t, r | o)`."""
    times = torch.full((2, len(z)), t, device=z.device)
    times[1] = r
    u: Tensor = network(z, times[0], times[1], features)
    return z + (r - t) * u


def ladder(nfe: int, start: float = 0.0) -> tuple[float, ...]:
    """nfe + 1 times from `start` to 1, evenly spaced."""
    return tuple(start + (1 - start) * k / nfe for k in range(nfe)) + (1.0,)


def sample(
    network: PolicyNetwork, features: Tensor, z: Tensor, times: Sequence[float] = (0.0, 1.0)
) -> Tensor:
    """Walk `z` along `times`; (0, 1) from noise is the one-step answer."""
    for t, r in zip(times, times[1:], strict=False):
        z = jump(network, features, z, t, r)
    return z


def mix(noise: Tensor, chunk: Tensor, t: float) -> Tensor:
    """The point at time t between noise and a chunk: where warm start and refinement begin."""
    return (1 - t) * noise + t * chunk


def shift(chunk: Tensor, steps: int, action_dim: int) -> Tensor:
    """Drop the first `steps` actions of (B, H*A) and pad with the last: the warm-start prior."""
    actions = chunk.view(len(chunk), -1, action_dim)
    steps = min(steps, actions.shape[1] - 1)
    tail = actions[:, -1:].expand(-1, steps, -1)
    return torch.cat([actions[:, steps:], tail], 1).flatten(1)


def warm_start(
    network: PolicyNetwork, features: Tensor, noise: Tensor, prior: Tensor, t_w: float, nfe: int = 1
) -> Tensor:
    """From the shifted previous chunk `prior`: `z = (1 - t_w) eps + t_w prior`, then to 1."""
    return sample(network, features, mix(noise, prior, t_w), ladder(nfe, t_w))


def refine(
    network: PolicyNetwork, features: Tensor, noise: Tensor, first: Tensor, t2: float
) -> Tensor:
    """Second evaluation on an answer `first`: re-noise it to t2 and step to 1 again."""
    return sample(network, features, mix(noise, first, t2), (t2, 1.0))
