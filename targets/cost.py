"""What a function costs, whatever runs it: floating-point operations and parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ofp_edge.manifest import Tensor
from ofp_edge.policy.deployed import Deployed


def flops(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Operations of one call (a multiply-add counts as two); matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*(torch.zeros(x.shape) for x in inputs))
    return int(counter.get_total_flops())


def parameters(module: nn.Module) -> int:
    """Numbers that were trained."""
    return sum(x.numel() for x in module.parameters())


def act_tensors(deployed: Deployed) -> tuple[Tensor, ...]:
    """The inputs of `act`, as a manifest would list them."""
    spec = deployed.spec
    return (
        Tensor("features", (1, spec.n_obs_steps * deployed.feature_dim)),
        Tensor("z", (1, spec.horizon * spec.action_dim)),
        Tensor("time_row", (1, len(deployed.time_rows[0].row))),
    )


def costs(deployed: Deployed, act_inputs: Sequence[Tensor]) -> dict[str, dict[str, int]]:
    """Per deployed function: {"parameters", "flops"}."""
    return {
        "encode": {
            "parameters": parameters(deployed.encode),
            "flops": flops(deployed.encode, deployed.encode_inputs),
        },
        "act": {
            "parameters": parameters(deployed.act), "flops": flops(deployed.act, act_inputs),
        },
    }  # fmt: skip
