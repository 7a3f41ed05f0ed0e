"""`ofp-plus`: OFP with the live weights as teacher and a consistency loss that doesn't fade.

Against `ofp`: the teacher is the network itself with stopped gradient (the moving average serves
evaluation only), L_sc is weighted by (r - t) / (m - t), rho falls exponentially to a floor above
0, and m - t has a lower bound. That weighted loss is close to the alpha-Flow objective
(arXiv 2510.20771). Never combine this weight and a small rho with a lagging teacher: it collapses.

Own-v (`own_v_from` < 1): from that progress on, z_m follows the network's own instantaneous
velocity instead of the data's, `z_m = z_t + (m - t) sg[u(z_t, t, t | o)]`: it keeps one-step
chunks from landing between two modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ofp_edge.policy import sampler, times
from ofp_edge.policy.methods.ofp import consistency_target, guidance_target
from ofp_edge.policy.network import PolicyNetwork


@dataclass(frozen=True)
class OfpPlus:
    """lambda_c, lambda_g: weights of L_sc and L_sg; alpha: strength of the guidance.

    p_drop: share of samples without condition. rho_last: rho at the end. m_smallest: least
    (m - t) / (rho (r - t)). smallest_step: least r - t. guide_from, own_v_from: progress at which
    guidance and own-v start (1: never). p_shipped: share of pairs (t, r) that are (0, 1).
    """

    name: ClassVar[str] = "ofp-plus"
    summary: ClassVar[str] = "One-Step Flow Policy with live teacher and weighted consistency"
    jumps: ClassVar[bool] = True
    velocity: ClassVar[bool] = True
    lambda_c: float = 1.0
    lambda_g: float = 0.1
    alpha: float = 0.5
    p_drop: float = 0.1
    rho_last: float = 0.01
    m_smallest: float = 0.1
    smallest_step: float = 0.01
    guide_from: float = 0.25
    own_v_from: float = 1.0
    p_shipped: float = 0.0

    @property
    def teacher_decay(self) -> float | None:
        """The teacher is the network itself."""
        return None

    @property
    def own_nfe(self) -> int:
        """One."""
        return 1

    def losses(
        self,
        network: PolicyNetwork,
        teacher: PolicyNetwork,
        observations: Sequence[Tensor],
        actions: Tensor,
        progress: float,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """See Method. The features are computed once and serve every term."""
        rows = len(actions)
        guide, own_v = progress >= self.guide_from, progress >= self.own_v_from
        eps, eps2 = (times.noise_like(actions, generator) for _ in range(2))
        t_flow, t_renoised, share = (times.uniform(rows, generator) for _ in range(3))
        t, r = times.sorted_pair(rows, self.smallest_step, self.p_shipped, generator)
        rho = times.exponential_contraction(progress, self.rho_last)
        m = t + (r - t) * rho * (self.m_smallest + (1 - self.m_smallest) * share)
        z_flow, z_t, z_m = (times.between(eps, actions, s) for s in (t_flow, t, m))

        features = network.encode(observations)
        condition = times.drop_condition(features, network.null, self.p_drop, generator)
        one = torch.ones(rows)
        z, starts, ends, seen = [z_flow, z_t], [t_flow, t], [t_flow, r], [condition, condition]
        if guide:
            z, starts, ends = [*z, z_flow], [*starts, t_flow], [*ends, one]
            seen = [*seen, features]
        # (2B or 3B, K): flow, consistency, one step
        live = network(*(torch.cat(part) for part in (z, starts, ends, seen))).split(rows)

        with torch.no_grad():
            if own_v:
                z_m = z_t + (m - t)[:, None] * network(z_t, t, t, condition)
            z, starts, ends, seen = [z_m], [m], [r], [condition]
            if guide:
                a_hat = z_flow + (1 - t_flow)[:, None] * live[2]
                z_renoised = times.between(eps2, a_hat, t_renoised)
                z = [*z, z_renoised, z_renoised]
                starts, ends = ([*part, t_renoised, t_renoised] for part in (starts, ends))
                seen = [*seen, network.null.expand_as(features), features]
            stopped = network(*(torch.cat(part) for part in (z, starts, ends, seen))).split(rows)
            target = consistency_target(z_t, t, z_m, m, r, stopped[0])
            weight = (r - t) / (m - t)

        losses = {
            "flow": times.squared_error(live[0], actions - eps).mean(),
            "consistency": self.lambda_c * (weight * times.squared_error(live[1], target)).mean(),
        }
        if guide:
            guided = guidance_target(live[2].detach(), stopped[1], stopped[2], self.alpha)
            losses["guidance"] = self.lambda_g * times.squared_error(live[2], guided).mean()
        return losses

    def sample(self, network: PolicyNetwork, features: Tensor, noise: Tensor, nfe: int) -> Tensor:
        """Evenly spaced jumps."""
        return sampler.sample(network, features, noise, sampler.ladder(nfe))
