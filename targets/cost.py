"""Count what a function costs, on any engine: floating-point operations and parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ofp_edge.functions import Tensor
from ofp_edge.policy.deployed import Deployed


def flops(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Count one call's operations (a multiply-add is two): matrix products and convolutions."""
    # The counter hooks gradients onto whatever would have one, a view of a parameter too.
    learned = [x for x in module.parameters() if x.requires_grad]
    try:
        module.requires_grad_(False)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(*(torch.zeros(x.shape) for x in inputs))
    finally:
        for x in learned:
            x.requires_grad_(True)
    return int(counter.get_total_flops())


def parameters(module: nn.Module) -> int:
    """Count the numbers that were trained."""
    return sum(x.numel() for x in module.parameters())


def costs(deployed: Deployed) -> dict[str, dict[str, int]]:
    """Return {"parameters", "flops"} per deployed function."""
    return {
        function.name: {
            "parameters": parameters(deployed.modules[function.name]),
            "flops": flops(deployed.modules[function.name], function.inputs),
        }
        for function in deployed.functions
    }
