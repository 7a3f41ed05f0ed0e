"""The codes of a run's network: how many, and which demonstrated chunks they stand for."""

from __future__ import annotations

import torch

from ofp_edge.policy.codes import k_means
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.train.batches import Batches

_MOST_CHUNKS = 8192


def with_codes(start: Policy, method: Method, what: str) -> Policy:
    """Return a start whose network has the method's codes. PolicyError, naming `what`, where it
    can't."""
    return start.coding(method.code_count, f"{what}: --option codes={method.code_count}")


def find_centres(network: PolicyNetwork, batches: Batches, seed: int) -> None:
    """Fill in the centres of new codes: of the chunks of up to 8192 windows, drawn as training
    draws them. A network without codes, or whose codes stand for something already, stays."""
    if network.codes is None or network.codes.centres.any():
        return
    generator = torch.Generator().manual_seed(seed)
    rows = batches.drawn(_MOST_CHUNKS, generator)
    with torch.no_grad():
        chunks = network.normalize_actions(batches.actions(rows))
        network.codes.centres.copy_(k_means(chunks, network.codes.count, generator))
