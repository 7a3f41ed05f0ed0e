"""Train jumps to land where the network's own velocity leads, by a loss that takes sides.

Bootstrapped jumps blur where two modes part. The one-step map must change from one mode to the
other within a hair's breadth of noise, at a border that has no simple form; where a network can't
tell on which side of it a noise lies, squared error is smallest halfway between the modes: it
hedges. A loss that grows like a logarithm is smallest *at* one of the two. It may only be used
once targets no longer depend on the jumps being learned: with bootstrapped ones it diverges. So the
target is the end of a path of the averaged network's instantaneous velocity, whose field
L_flow alone shapes.

A jump with codes (policy/codes.py) is told the one nearest to where its path ends at r = 1, which
the chooser learns too; it ends at one of the path's own steps, so that a code costs no evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ofp_edge.policy import times
from ofp_edge.policy.codes import choice_loss
from ofp_edge.policy.methods.method import encoded
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, part_of, telling

_SHARE_COLD = 0.75  # of the rows learn (0, 1), the others any (t, r)
_KNEE = 0.1  # RMS error from which the loss bends, in normalised units


def rollout_losses(
    network: PolicyNetwork, teacher: PolicyNetwork, observations: Sequence[Tensor],
    actions: Tensor, *, jumping: int, steps: int, weight: float, smallest_step: float,
    p_drop: float, generator: torch.Generator, prefix: Prefix | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Return L_flow and, for the first `jumping` rows, how far `z_t + (r - t) u(z_t, t, r)` is from
    a path of `steps` Euler steps by the averaged weights, and what its choice of a code is worth.
    See Method.losses."""
    rows, some = len(actions), slice(jumping)
    eps, eps2 = (times.noise_like(actions, generator) for _ in range(2))
    t_flow, share = (times.uniform(rows, generator) for _ in range(2))
    t, r = times.sorted_pair(rows, smallest_step, 0.0, generator)
    cold = share < _SHARE_COLD
    t, r = t.masked_fill(cold, 0.0)[some], r.masked_fill(cold, 1.0)[some]
    z_flow, z_t = times.between(eps, actions, t_flow), times.between(eps2[some], actions[some], t)

    features = encoded(network, observations, rows)
    condition = times.drop_condition(features, network.null, p_drop, generator)
    jumps = part_of(prefix, some)
    codes = network.codes
    with torch.no_grad():
        if teacher.encoder is network.encoder:
            seen = features[some]
        else:
            seen = encoded(teacher, [x[some] for x in observations], jumping)
        if codes is None:
            at, end = torch.full_like(t, steps).long(), r
        else:
            at = ((r - t) / (1 - t) * steps).ceil().long().clamp(1, steps)
            r, end = t + at / steps * (1 - t), torch.ones_like(r)
        path = _path(telling(teacher, jumps), seen, z_t, t, end, steps)
        z_r = path[at, torch.arange(len(at), device=at.device)]
        code = None
        if codes is not None:
            number = codes.nearest(path[-1] if jumps is None else jumps.put_into(path[-1]))
            code = torch.cat([z_t.new_zeros(rows, codes.count), codes.one_hot(number)])
    u_t, u_r = telling(network, part_of(prefix, slice(rows), some), code)(
        torch.cat([z_flow, z_t]),
        torch.cat([t_flow, t]),
        torch.cat([t_flow, r]),
        torch.cat([condition, features[some]]),
    ).split([rows, jumping])
    error = times.squared_error(z_t + (r - t)[:, None] * u_r, z_r, jumps, network.counted)
    losses = {
        "flow": times.squared_error(u_t, actions - eps, prefix, network.counted).mean(),
        "rollout": weight * taking_sides(error).mean(),
    }
    if codes is not None:
        losses["codes"] = choice_loss(network, z_t, t, r, features[some], number, jumps)
    return losses


def taking_sides(squared_error: Tensor) -> Tensor:
    """Return `log(1 + e / c^2)`: like e where it is small; between two ends it is least at one."""
    return torch.log1p(squared_error / _KNEE**2)


def _path(
    network: Callable[..., Tensor], features: Tensor, z: Tensor, t: Tensor, end: Tensor, steps: int
) -> Tensor:
    """(steps + 1, B, K): z after each of `steps` even Euler steps of u(z, s, s) from t to `end`."""
    step, path = (end - t) / steps, [z]
    for k in range(steps):
        at = t + k * step
        path.append(path[-1] + step[:, None] * network(path[-1], at, at, features))
    return torch.stack(path)
