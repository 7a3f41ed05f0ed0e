"""`meanflow`: the average velocity from its differential identity, by a Jacobian-vector product.

Geng et al., "Mean Flows for One-step Generative Modeling", arXiv 2505.13447. There noise is at
time 1; here it is at 0 and data at 1, `z_r = z_t + (r - t) u(z_t, t, r | o)`, so that

    (r - t) u(z_t, t, r) = integral of v(z_s, s) ds from t to r.

Differentiated by t along the path (dz_t/dt = v, r held fixed) the right side gives -v(z_t, t):

    -u + (r - t) du/dt = -v     =>     u = v + (r - t) du/dt,     du/dt = (d_z u) v + d_t u.

du/dt is the Jacobian-vector product of u with the tangent (v, 1, 0) of (z, t, r); the paper's minus
sign comes from its other direction of time. With the conditional velocity `a - eps` for v:

    L = w || u(z_t, t, r | o) - sg[a - eps + (r - t) du/dt] ||^2,  w = sg[1 / (|| . ||^2 + c)^p].

At r = t this is flow matching. The observation's features are constants of the derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ofp_edge.policy import times
from ofp_edge.policy.methods.method import Method, encoded
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, part_of, telling


@dataclass(frozen=True)
class MeanFlow(Method):
    """same_share is the share of pairs with r = t; weight_power, weight_floor are p and c of w.

    All three are the paper's for ImageNet (section 5, appendix A). Times are uniform, as in the
    other methods, not the paper's logit-normal. p_drop: share of samples without condition, the
    same as in OFP.
    """

    name: ClassVar[str] = "meanflow"
    summary: ClassVar[str] = "MeanFlow: average velocity by a Jacobian-vector product"
    jumps: ClassVar[bool] = True
    compiles: ClassVar[bool] = False
    same_share: float = 0.75
    weight_power: float = 1.0
    weight_floor: float = 1e-3
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
        """Compute the losses (see Method). Values are plain squared errors, to be compared over
        training; gradients are those of the weighted loss, whose value says nothing."""
        rows = len(actions)
        same = min(rows, max(1, round(self.same_share * rows)))  # windows come in random order
        eps = times.noise_like(actions, generator)
        t, r = times.sorted_pair(rows, 0.0, 0.0, generator)
        # Of a sorted pair t alone is no uniform draw: these rows draw anew.
        t = torch.cat([times.uniform(same, generator), t[same:]])
        z, v = times.between(eps, actions, t), actions - eps
        features = encoded(network, observations, len(actions))
        condition = times.drop_condition(features, network.null, self.p_drop, generator)

        first = part_of(prefix, slice(same))
        u = telling(network, first)(z[:same], t[:same], t[:same], condition[:same])
        losses = {"flow": self._weighted(u, v[:same], same / rows, first, network.counted)}
        if same < rows:
            jump = slice(same, rows)
            others = part_of(prefix, jump)
            told = telling(network, others)
            u, slope = with_slope(told, z[jump], t[jump], r[jump], condition[jump], v[jump])
            target = average_velocity(v[jump], (r - t)[jump], slope)
            losses["average"] = self._weighted(u, target, 1 - same / rows, others, network.counted)
        return losses

    def _weighted(
        self,
        u: Tensor,
        target: Tensor,
        share: float,
        prefix: Prefix | None = None,
        counted: Tensor | None = None,
    ) -> Tensor:
        error = times.squared_error(u, target, prefix, counted)
        distance = error * u.shape[1]  # || . ||^2
        weight = (distance.detach() + self.weight_floor) ** -self.weight_power
        weighted = share * (weight * distance).mean()
        return error.mean().detach() + weighted - weighted.detach()


def with_slope(
    network: Callable[..., Tensor], z: Tensor, t: Tensor, r: Tensor, features: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Return u(z, t, r | o) and, without gradient, its slope by t along dz/dt = v: (B, K)."""

    def u_of(z: Tensor, t: Tensor) -> Tensor:
        u: Tensor = network(z, t, r, features)
        return u

    found = torch.func.jvp(u_of, (z, t), (v, torch.ones_like(t)))
    return found[0], found[1].detach()


def average_velocity(v: Tensor, step: Tensor, slope: Tensor) -> Tensor:
    """Return the identity's right side `v + (r - t) du/dt`, without gradient: v, slope (B, K)."""
    return (v + step[:, None] * slope).detach()
