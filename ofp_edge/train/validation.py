"""Validation on held-out episodes: the same windows and the same noise every time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ofp_edge.policy.draws import RowGenerator
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.times import noise_like
from ofp_edge.train.batches import Batches

_MOST_WINDOWS, _SEED, _DRAWS, _MOST_NFE = 256, 20_260_101, 4, 10
_PART_BYTES = 64 << 20  # of what the network takes at once, in float32


@dataclass(frozen=True)
class Validation:
    """Holds the errors. loss: the method's first term. chunk_error: RMS of the chunk in one step
    (of a many-step method: in 10), normalised units."""

    loss: float
    chunk_error: float


def validate(method: Method, network: PolicyNetwork, batches: Batches) -> Validation:
    """Validate on up to 256 evenly spaced windows, 4 draws of noise and time each, unaugmented."""
    count = min(len(batches), _MOST_WINDOWS)
    rows = ((torch.arange(count) * len(batches)) // count).repeat(_DRAWS)
    parts = _parts(len(rows), batches)
    loss = square = 0.0
    for part in range(parts):
        found = _part(method, network, batches, rows[part::parts], part, parts)
        loss, square = loss + found[0] / parts, square + found[1] / parts
    return Validation(loss, math.sqrt(square) if square >= 0 else square)


def _parts(rows: int, batches: Batches) -> int:
    """In how many equal parts the rows are taken, for the sake of memory."""
    window = 4 * sum(math.prod(f.shape) for f in batches.spec.observations)
    wanted = max(1, -(-rows * window * batches.spec.n_obs_steps // _PART_BYTES))
    return next(x for x in range(min(wanted, rows), rows + 1) if rows % x == 0)


def _part(
    method: Method, network: PolicyNetwork, batches: Batches, rows: Tensor, part: int, parts: int
) -> tuple[float, float]:
    """The loss, and the mean square of the chunk's error. Draws are those of all rows."""
    place = network.null.device
    observations, actions = batches.take(rows)
    observations = [x.to(place) for x in observations]
    target = network.normalize_actions(actions.to(place))
    generator = RowGenerator()
    generator.share(part, parts, place)
    generator.manual_seed(_SEED)
    with torch.no_grad():
        # Progress 0: only the data term is used, the others depend on it.
        losses = method.losses(network, network, observations, target, 0.0, generator)
        nfe = min(method.own_nfe, _MOST_NFE)
        noise = noise_like(target, generator)
        chunk = method.sample(network, network.encode(observations), noise, nfe)
        error = (chunk - target).square().mean()
    return next(iter(losses.values())).item(), error.item()
