"""The codes of a run's network: how many, and which demonstrated chunks they stand for."""

from __future__ import annotations

import torch

from ofp_edge.policy.codes import k_means
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.network_config import NetworkConfig
from ofp_edge.policy.presets import Preset
from ofp_edge.train.batches import Batches
from ofp_edge.train.request import Request

_MOST_CHUNKS = 8192


def chosen_method(request: Request, name: str, preset: Preset, start: Policy | None) -> Method:
    """Build the method: of the user's options, then the preset's. A network that goes on training
    keeps its codes, and one of a kind that takes none begins without."""
    options = {**preset.method_options.get(name, {}), **(request.options or {})}
    method = build_method(name, options)
    if not method.code_count or "codes" in options:
        return method
    network = start.config.network if start else preset.network
    if not isinstance(network, NetworkConfig):
        return build_method(name, {**options, "codes": 0})
    goes_on = start is not None and not request.distill
    return build_method(name, {**options, "codes": network.codes}) if goes_on else method


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
