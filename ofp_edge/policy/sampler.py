"""Sample from the average-velocity network: in one step, or by a ladder of K.

All chunks are normalised and flat, (B, H*A); features (B, To*F). One set of weights serves any
number of function evaluations (nfe).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ofp_edge.policy.codes import chosen
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, telling


def jump(
    network: PolicyNetwork,
    features: Tensor,
    z: Tensor,
    t: float,
    r: float,
    prefix: Prefix | None = None,
) -> Tensor:
    """Take one evaluation's step: `z_r = z + (r - t) u(z, t, r | o)`, by the code it chooses."""
    times = torch.full((2, len(z)), t, device=z.device)
    times[1] = r
    at = z, times[0], times[1], features
    code = None if network.codes is None else chosen(network.code_logits(*at, prefix))
    u: Tensor = telling(network, prefix, code)(*at)
    return z + (r - t) * u


def ladder(nfe: int, start: float = 0.0) -> tuple[float, ...]:
    """Return nfe + 1 evenly spaced times from `start` to 1."""
    return tuple(start + (1 - start) * k / nfe for k in range(nfe)) + (1.0,)


def sample(
    network: PolicyNetwork,
    features: Tensor,
    z: Tensor,
    times: Sequence[float] = (0.0, 1.0),
    prefix: Prefix | None = None,
) -> Tensor:
    """Walk `z` along `times`; (0, 1) from noise is the one-step answer. What is committed of the
    chunk stands in it unchanged."""
    for t, r in zip(times, times[1:], strict=False):
        z = jump(network, features, z, t, r, prefix)
    return z if prefix is None else prefix.put_into(z)
