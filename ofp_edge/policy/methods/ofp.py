"""`ofp`: the three losses of One-Step Flow Policy as the paper writes them (arXiv 2603.12480).

    L_flow = || u(z_t, t, t | o) - (a - eps) ||^2
    L_sc   = || u(z_t, t, r | o) - sg[(z_m + (r - m) u_ema(z_m, m, r | o) - z_t) / (r - t)] ||^2
             t < m < r, m ~ U[t, t + (r - t) rho(s)], rho falling from 1 to 0 over training
    L_sg   = || u(z_t, t, 1 | o) - sg[u(z_t, t, 1 | o)
                - alpha (u_ema(z~, t', t' | null) - u_ema(z~, t', t' | o))] ||^2
             z~ = (1 - t') eps' + t' a_hat, a_hat = z_t + (1 - t) u(z_t, t, 1 | o)

The teacher is the exponential moving average of all weights, encoder included unless it is frozen:
then both share it, and its features.
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
from ofp_edge.policy.prefix import Prefix, part_of, telling


@dataclass(frozen=True)
class Ofp(Method):
    """Holds the options. lambda_c, lambda_g: weights of L_sc and L_sg; alpha: strength of guidance.

    p_drop: share of samples without condition. smallest_step: least r - t. What the paper leaves
    open (all but the losses' form) was chosen by measurement.
    """

    name: ClassVar[str] = "ofp"
    summary: ClassVar[str] = "One-Step Flow Policy, the paper's objective with an EMA teacher"
    jumps: ClassVar[bool] = True
    lambda_c: float = 1.0
    lambda_g: float = 0.1
    alpha: float = 0.5
    p_drop: float = 0.1
    smallest_step: float = 0.01
    ema_decay: float = 0.999

    @property
    def teacher_decay(self) -> float | None:
        """The decay of the moving average u_ema."""
        return self.ema_decay

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
        """Compute the losses (see Method): one pass each by student and teacher over all terms."""
        rows = len(actions)
        eps, eps2 = (times.noise_like(actions, generator) for _ in range(2))
        t_flow, t_renoised, share = (times.uniform(rows, generator) for _ in range(3))
        t, r = times.sorted_pair(rows, self.smallest_step, 0.0, generator)
        m = t + (r - t) * times.cosine_contraction(progress) * share
        z_flow, z_t, z_m = (times.between(eps, actions, s) for s in (t_flow, t, m))

        features = encoded(network, observations, rows)
        dropped = times.uniform(rows, generator) < self.p_drop
        condition = torch.where(dropped[:, None], network.null, features)
        one = torch.ones_like(t)
        whole = slice(rows)
        thrice = part_of(prefix, whole, whole, whole)
        u_flow, u_sc, u_one = telling(network, thrice)(
            torch.cat([z_flow, z_t, z_flow]),  # (3B, K)
            torch.cat([t_flow, t, t_flow]),
            torch.cat([t_flow, r, one]),
            torch.cat([condition, condition, features]),
        ).split(rows)

        with torch.no_grad():
            shared = teacher.encoder is network.encoder
            seen = features if shared else encoded(teacher, observations, rows)
            seen_or_null = torch.where(dropped[:, None], teacher.null, seen)
            a_hat = z_flow + (1 - t_flow)[:, None] * u_one
            z_renoised = times.between(eps2, a_hat, t_renoised)
            u_m, v_null, v_seen = telling(teacher, thrice)(
                torch.cat([z_m, z_renoised, z_renoised]),
                torch.cat([m, t_renoised, t_renoised]),
                torch.cat([r, t_renoised, t_renoised]),
                torch.cat([seen_or_null, teacher.null.expand_as(seen), seen]),
            ).split(rows)
            target = consistency_target(z_t, t, z_m, m, r, u_m)
            guided = guidance_target(u_one, v_null, v_seen, self.alpha)

        flow, consistency, guidance = (
            times.squared_error(u, wanted, prefix, network.counted).mean()
            for u, wanted in ((u_flow, actions - eps), (u_sc, target), (u_one, guided))
        )
        return {
            "flow": flow,
            "consistency": self.lambda_c * consistency,
            "guidance": self.lambda_g * guidance,
        }


def consistency_target(
    z_t: Tensor, t: Tensor, z_m: Tensor, m: Tensor, r: Tensor, u_m: Tensor
) -> Tensor:
    """Return the average velocity over [t, r] of a path through z_m: z (B, K), times (B,)."""
    z_r = z_m + (r - m)[:, None] * u_m
    return (z_r - z_t) / (r - t)[:, None]


def guidance_target(u: Tensor, v_null: Tensor, v_seen: Tensor, alpha: float) -> Tensor:
    """Move u along the conditional minus the unconditional velocity (both at the renoised z)."""
    return u - alpha * (v_null - v_seen)
