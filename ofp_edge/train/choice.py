"""The method of a run: what the user asks for, then what goes on, then the preset's."""

from __future__ import annotations

from ofp_edge.policy.folder import Policy
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network_config import NetworkConfig
from ofp_edge.policy.presets import Preset
from ofp_edge.train.request import Request


def chosen_method(request: Request, name: str, preset: Preset, start: Policy | None) -> Method:
    """Build the method: of the user's options, then the preset's. A network that goes on training
    keeps its codes and what it predicts, and one of a kind that takes no codes begins without."""
    options = {**preset.method_options.get(name, {}), **(request.options or {})}
    goes_on = start is not None and not request.distill
    if start and goes_on and name == start.config.method:
        kept = method_of(start).kept
        options = {**{k: v for k, v in start.config.method_options.items() if k in kept}, **options}
    method = build_method(name, options)
    if not method.code_count or "codes" in options:
        return method
    network = start.config.network if start else preset.network
    if not isinstance(network, NetworkConfig):
        return build_method(name, {**options, "codes": 0})
    return build_method(name, {**options, "codes": network.codes}) if goes_on else method


def method_of(policy: Policy) -> Method:
    """Return the method that a policy was trained with."""
    return build_method(policy.config.method, policy.config.method_options)
