"""Train jumps to land where the network's own velocity leads, by a loss that takes sides.

Bootstrapped jumps blur where two modes part. The one-step map must change from one mode to the
other within a hair's breadth of noise, at a border that has no simple form; where a network can't
tell on which side of it a noise lies, squared error is smallest halfway between the modes: it
hedges. A loss that grows like a logarithm is smallest *at* one of the two. It may only be used
once targets no longer depend on the jumps being learned: with bootstrapped ones it diverges. So the
target is the end of a path of the averaged network's instantaneous velocity, whose field
L_flow alone shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ofp_edge.policy import times
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
    the end of a path of `steps` Euler steps by the averaged weights. See Method.losses."""
    rows, some = len(actions), slice(jumping)
    eps, eps2 = (times.noise_like(actions, generator) for _ in range(2))
    t_flow, share = (times.uniform(rows, generator) for _ in range(2))
    t, r = times.sorted_pair(rows, smallest_step, 0.0, generator)
    cold = share < _SHARE_COLD
    t, r = t.masked_fill(cold, 0.0)[some], r.masked_fill(cold, 1.0)[some]
    z_flow, z_t = times.between(eps, actions, t_flow), times.between(eps2[some], actions[some], t)

    features = network.encode(observations)
    condition = times.drop_condition(features, network.null, p_drop, generator)
    jumps = part_of(prefix, some)
    u_t, u_r = telling(network, part_of(prefix, slice(rows), some))(
        torch.cat([z_flow, z_t]),
        torch.cat([t_flow, t]),
        torch.cat([t_flow, r]),
        torch.cat([condition, features[some]]),
    ).split([rows, jumping])
    with torch.no_grad():
        if teacher.encoder is network.encoder:
            seen = features[some]
        else:
            seen = teacher.encode([field[some] for field in observations])
        velocity = _mean_velocity(telling(teacher, jumps), seen, z_t, t, r, steps)
    step, counted = (r - t)[:, None], network.counted
    error = times.squared_error(step * u_r, step * velocity, jumps, counted)
    return {
        "flow": times.squared_error(u_t, actions - eps, prefix, counted).mean(),
        "rollout": weight * taking_sides(error).mean(),
    }


def taking_sides(squared_error: Tensor) -> Tensor:
    """Return `log(1 + e / c^2)`: like e where it is small; between two ends it is least at one."""
    return torch.log1p(squared_error / _KNEE**2)


def _mean_velocity(
    network: Callable[..., Tensor], features: Tensor, z: Tensor, t: Tensor, r: Tensor, steps: int
) -> Tensor:
    """(B, K): mean of u(z, s, s) over `steps` even Euler steps from t to r."""
    step, total = (r - t) / steps, torch.zeros_like(z)
    for k in range(steps):
        at = t + k * step
        v = network(z, at, at, features)
        z, total = z + step[:, None] * v, total + v
    return total / steps
