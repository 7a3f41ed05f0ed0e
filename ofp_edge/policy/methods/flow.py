"""`flow`: flow matching, `|| u(z_t, t, t | o) - (a - eps) ||^2`; many Euler steps to sample.

Lipman et al., ICLR 2023, on the straight path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ofp_edge.policy import times
from ofp_edge.policy.methods.method import Method, encoded
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, telling


@dataclass(frozen=True)
class Flow(Method):
    """Holds the one option. p_drop: share of samples without condition, the same as in OFP."""

    name: ClassVar[str] = "flow"
    summary: ClassVar[str] = "flow matching: the many-step baseline"
    jumps: ClassVar[bool] = False
    p_drop: float = 0.1

    def losses(
        self,
        network: PolicyNetwork,
        teacher: PolicyNetwork,
        observations: Sequence[Tensor],
        actions: Tensor,
        progress: float,
        generator: torch.Generator,
        prefix: Prefix | None = None,
    ) -> dict[str, Tensor]:
        """Compute the loss; see Method."""
        features = encoded(network, observations, len(actions))
        condition = times.drop_condition(features, network.null, self.p_drop, generator)
        eps = times.noise_like(actions, generator)
        t = times.uniform(len(actions), generator)
        u = telling(network, prefix)(times.between(eps, actions, t), t, t, condition)
        error = times.squared_error(u, actions - eps, prefix, network.counted)
        return {"flow": error.mean()}

    def sample(
        self,
        network: PolicyNetwork,
        features: Tensor,
        noise: Tensor,
        nfe: int,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """Take Euler steps with the instantaneous velocity."""
        z, velocity = noise, telling(network, prefix)
        for k in range(nfe):
            t = torch.full((len(z),), k / nfe, device=z.device)
            z = z + velocity(z, t, t, features) / nfe
        return z if prefix is None else prefix.put_into(z)
