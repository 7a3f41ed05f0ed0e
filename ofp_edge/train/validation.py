"""Validation on held-out episodes: the same windows and the same noise every time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ofp_edge.policy.draws import RowGenerator
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.times import noise_like
from ofp_edge.train.batches import Batches

_MOST_WINDOWS, _SEED, _DRAWS, _MOST_NFE = 256, 20_260_101, 4, 10


@dataclass(frozen=True)
class Validation:
    """Holds the errors. loss: the method's first term. chunk_error: RMS of the chunk in one step
    (of a many-step method: in 10), normalised units."""

    loss: float
    chunk_error: float


def validate(method: Method, network: PolicyNetwork, batches: Batches) -> Validation:
    """Validate on up to 256 evenly spaced windows, 4 draws of noise and time each, unaugmented."""
    count = min(len(batches), _MOST_WINDOWS)
    rows = (torch.arange(count) * len(batches)) // count
    place = network.null.device
    observations, actions = batches.take(rows.repeat(_DRAWS))
    observations = [x.to(place) for x in observations]
    target = network.normalize_actions(actions.to(place))
    generator = RowGenerator()
    generator.share(0, 1, place)
    generator.manual_seed(_SEED)
    with torch.no_grad():
        # Progress 0: only the data term is used, the others depend on it.
        losses = method.losses(network, network, observations, target, 0.0, generator)
        nfe = min(method.own_nfe, _MOST_NFE)
        noise = noise_like(target, generator)
        chunk = method.sample(network, network.encode(observations), noise, nfe)
        error = (chunk - target).square().mean().sqrt()
    return Validation(next(iter(losses.values())).item(), error.item())
