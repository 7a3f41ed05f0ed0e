"""`ofp-plus`: OFP with the live weights as teacher and a consistency loss that doesn't fade.

Against `ofp`: the teacher is the network itself with stopped gradient (the moving average serves
evaluation only), L_sc is weighted by (r - t) / (m - t), rho falls exponentially to a floor above
0, and m - t has a lower bound. That weighted loss is close to the alpha-Flow objective
(arXiv 2510.20771). Never combine this weight and a small rho with a lagging teacher: it collapses.

Own-v: from progress `own_v_from` on, z_m follows the network's own instantaneous velocity instead
of the data's, `z_m = z_t + (m - t) sg[u(z_t, t, t | o)]`. The data's velocity is random given z, so
each bootstrap step through it blurs the path, and one-step chunks land between two modes; the own
one is not. With it m may lie far from t, which makes the bootstrap chain short (`rho_last`,
`m_smallest`). L_flow is then all that ties the field to data: with a tenth of its weight training
diverges. Its evaluation of u(z_t, t, t) is L_flow's own, so own-v costs nothing.

From progress `rollout_from` on, `rollout.py` takes the place of bootstrap and self-guidance, and
jumps follow their codes (policy/codes.py). Until then the chooser learns the data's own, from z_t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.policy import times
from ofp_edge.policy.codes import choice_loss
from ofp_edge.policy.methods.method import Method, encoded
from ofp_edge.policy.methods.ofp import consistency_target, guidance_target
from ofp_edge.policy.methods.rollout import rollout_losses
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, part_of, telling

_MOST_CODES = 1024


@dataclass(frozen=True)
class OfpPlus(Method):
    """Holds the options. lambda_c, lambda_g: weights of L_sc and L_sg; alpha: strength of guidance.

    p_drop: share of samples without condition. rho_last: rho at the end. m_smallest: least
    (m - t) / (rho (r - t)). smallest_step: least r - t. guide_from, own_v_from: progress at which
    guidance and own-v start (1: never). guide_every, jump_every: one row in so many carries L_sg,
    and L_sc or the roll-out. p_shipped: share of pairs (t, r) that are (0, 1). rollout_from:
    progress from which jumps learn the ends of rolled-out paths (1: never), of rollout_steps steps
    each; lambda_r: weight of that. A larger one sharpens the edge between modes and costs
    precision. codes: how many a jump chooses among (0: none), of a new network. guide_every,
    jump_every, rollout_steps and codes are whole numbers.
    """

    name: ClassVar[str] = "ofp-plus"
    summary: ClassVar[str] = "One-Step Flow Policy with live teacher and weighted consistency"
    jumps: ClassVar[bool] = True
    lambda_c: float = 1.0
    lambda_g: float = 0.05
    alpha: float = 0.5
    p_drop: float = 0.1
    rho_last: float = 0.1
    m_smallest: float = 0.5
    smallest_step: float = 0.01
    guide_from: float = 0.25
    guide_every: float = 2.0
    jump_every: float = 1.0
    own_v_from: float = 0.0
    p_shipped: float = 0.0
    rollout_from: float = 0.4
    rollout_steps: float = 6.0
    lambda_r: float = 0.1
    codes: float = 32.0

    def __post_init__(self) -> None:
        for name in ("guide_every", "jump_every", "rollout_steps"):
            if getattr(self, name) < 1 or getattr(self, name) % 1:
                raise PolicyError(
                    f"method {self.name}: {name} = {getattr(self, name):g}: expected a whole "
                    "number, 1 or more."
                )
        if not (self.codes == 0 or 2 <= self.codes <= _MOST_CODES) or self.codes % 1:
            raise PolicyError(
                f"method {self.name}: codes = {self.codes:g}: expected a whole number, 2 to "
                f"{_MOST_CODES}, or 0 for none."
            )

    @property
    def code_count(self) -> int:
        """The codes of a new network."""
        return int(self.codes)

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
        """Compute the losses (see Method) in two passes: one with gradient, one for the targets."""
        rows = len(actions)
        # The first rows: windows come in random order.
        jumping = max(1, rows // int(self.jump_every))
        if progress >= self.rollout_from:
            return rollout_losses(
                network,
                teacher,
                observations,
                actions,
                jumping=jumping,
                steps=int(self.rollout_steps),
                weight=self.lambda_r,
                smallest_step=self.smallest_step,
                p_drop=self.p_drop,
                generator=generator,
                prefix=prefix,
            )
        guided = rows // int(self.guide_every) if progress >= self.guide_from else 0
        jump, guide = slice(jumping), slice(guided)
        eps, eps2 = (times.noise_like(actions, generator) for _ in range(2))
        t_renoised, share = (times.uniform(rows, generator) for _ in range(2))
        t, r = times.sorted_pair(rows, self.smallest_step, self.p_shipped, generator)
        rho = times.exponential_contraction(progress, self.rho_last)
        m = t + (r - t) * rho * (self.m_smallest + (1 - self.m_smallest) * share)
        z_t = times.between(eps, actions, t)

        features = encoded(network, observations, rows)
        condition = times.drop_condition(features, network.null, self.p_drop, generator)
        z_jump, t_jump, m, r = z_t[jump], t[jump], m[jump], r[jump]
        z_guide, t_guide, seen = z_t[guide], t[guide], features[guide]
        told = telling(network, part_of(prefix, slice(rows), jump, guide))
        u_t, u_r, u_one = told(
            torch.cat([z_t, z_jump, z_guide]),  # (B + J + G, K)
            torch.cat([t, t_jump, t_guide]),
            torch.cat([t, r, torch.ones_like(t_guide)]),
            torch.cat([condition, condition[jump], seen]),
        ).split([rows, jumping, guided])

        with torch.no_grad():
            v = u_t[jump] if progress >= self.own_v_from else (actions - eps)[jump]
            z_m = z_jump + (m - t_jump)[:, None] * v
            a_hat = z_guide + (1 - t_guide)[:, None] * u_one
            at = t_renoised[guide]
            z_renoised = times.between(eps2[guide], a_hat, at)
            told = telling(network, part_of(prefix, jump, guide, guide))
            u_m, v_null, v_seen = told(
                torch.cat([z_m, z_renoised, z_renoised]),
                torch.cat([m, at, at]),
                torch.cat([r, at, at]),
                torch.cat([condition[jump], network.null.expand_as(seen), seen]),
            ).split([jumping, guided, guided])
            target = consistency_target(z_jump, t_jump, z_m, m, r, u_m)
            weight = (r - t_jump) / (m - t_jump)
            sharper = guidance_target(u_one, v_null, v_seen, self.alpha)

        apart = times.squared_error(u_r, target, part_of(prefix, jump), network.counted)
        flow = times.squared_error(u_t, actions - eps, prefix, network.counted)
        losses = {
            "flow": flow.mean(),
            "consistency": self.lambda_c * (weight * apart).mean(),
        }
        if guided:
            apart = times.squared_error(u_one, sharper, part_of(prefix, guide), network.counted)
            losses["guidance"] = self.lambda_g * apart.mean()
        if network.codes is not None:
            own, ahead = network.codes.nearest(actions[jump]), part_of(prefix, jump)
            losses["codes"] = choice_loss(network, z_jump, t_jump, r, features[jump], own, ahead)
        return losses
