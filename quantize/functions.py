"""The deployed functions in a plan's precision: the torch modules that engines are built from."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofp_edge.policy.deployed import Deployed
from ofp_edge.quantize.plan import Plan
from ofp_edge.quantize.ptq import build_quantized


@dataclass(frozen=True)
class Functions:
    """The two deployed functions in one precision."""

    encode: nn.Module
    act: nn.Module


class Half(nn.Module):
    """A function whose weights and sums are in half precision; it takes and gives float32."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = copy.deepcopy(function).half()

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the function gives, as float32."""
        result = self.function(*(x.half() for x in inputs))
        return result.float() if isinstance(result, Tensor) else tuple(x.float() for x in result)


def build_functions(deployed: Deployed, plan: Plan) -> Functions:
    """The functions that a plan describes."""
    if plan.precision == "fp16":
        return Functions(Half(deployed.encode), Half(deployed.act))
    frame = tuple(torch.zeros(x.shape) for x in deployed.encode_inputs)
    spec = deployed.spec
    call = (
        torch.zeros(1, spec.n_obs_steps * deployed.feature_dim),
        torch.zeros(1, spec.horizon * spec.action_dim),
        torch.tensor([deployed.time_rows[0].row]),
    )
    return Functions(
        build_quantized(deployed.encode, "encode", frame, plan),
        build_quantized(deployed.act, "act", call, plan),
    )
