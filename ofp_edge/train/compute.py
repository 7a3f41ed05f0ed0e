"""How a step is computed: precision, compilation, and in how many parts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from ofp_edge.errors import OfpError
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network import PolicyNetwork

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Compute:
    """precision: "auto" is bfloat16 on a GPU that has it, else float32. compiled: None is True on a
    GPU. accumulate: parts of a batch, whose gradients are added: the same step, of less memory."""

    precision: Precision = "auto"
    compiled: bool | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise OfpError(
                f"--precision {self.precision}: expected one of {', '.join(PRECISIONS)}."
            )
        if self.accumulate < 1:
            raise OfpError(f"--accumulate {self.accumulate}: expected 1 or more.")

    def on(self, place: torch.device, method: Method) -> Compute:
        """Settle what is automatic. OfpError where the method can't be compiled."""
        gpu = place.type == "cuda"
        precision = self.precision
        if precision == "auto":
            precision = "bfloat16" if gpu and torch.cuda.is_bf16_supported() else "float32"
        compiled = gpu if self.compiled is None else self.compiled
        if compiled and not method.compiles:
            if self.compiled:
                raise OfpError(f"--compile: method {method.name} differentiates forward in time.")
            compiled = False
        return Compute(precision, compiled, self.accumulate)

    def casting(self, place: torch.device) -> AbstractContextManager[None]:
        """Compute matrix products in the precision; weights and sums stay float32."""
        found: AbstractContextManager[None] = torch.autocast(
            place.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )
        return found

    def prepare(self, *networks: PolicyNetwork) -> None:
        """Compile the parts of networks, whose names and weights stay."""
        if self.compiled:
            for network in networks:
                for part in (network.encoder.compiled, network.time, network.trunk):
                    part.compile()
                if network.codes is not None:
                    network.codes.chooser.compile()
