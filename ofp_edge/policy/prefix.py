"""A committed prefix: the first actions of a chunk are decided already, and the network is told.

In training the actions from the observation on are given clean for some steps and marked by a mask;
the losses count the rest. z inside the prefix is replaced by the clean action, before every
evaluation: whatever u says there, a chunk of several evaluations, a bootstrapped target and a
rolled-out path all go on from what is committed, and no method needs a rule of its own. The trunk
is told the mask and, by weights of their own, the values: z alone does not say where noise ends.
Deployed, whoever calls `act` puts it into z: each operation of a graph would cost more (seam.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.policy.draws import draw
from ofp_edge.spec import PolicySpec

if TYPE_CHECKING:
    from ofp_edge.policy.network import PolicyNetwork

_SHARE_FREE = 0.5  # of the rows have no prefix: an episode's first chunk, and every L of 0


class Prefix(NamedTuple):
    """What is committed of B chunks. actions: (B, H*A) normalised; mask: (B, H), 1 where a step is
    committed, else 0. Actions outside the mask are ignored."""

    actions: Tensor
    mask: Tensor

    @property
    def free(self) -> Tensor:
        """(B, H*A): 1 where an action is still to be found, else 0."""
        return 1 - self.mask.repeat_interleave(self.actions.shape[1] // self.mask.shape[1], 1)

    @property
    def told(self) -> Tensor:
        """(B, H*(A+1)): by step the action and a 1 inside the mask, zeros elsewhere."""
        mask = self.mask.unsqueeze(2)
        steps = self.actions.view(*self.mask.shape, -1)
        return torch.cat([steps * mask, mask], 2).flatten(1)

    @staticmethod
    def of(told: Tensor, free: Tensor) -> Prefix:
        """Return the prefix that `act` is told by these two inputs."""
        steps = told.view(len(told), told.shape[1] - free.shape[1], -1)
        return Prefix(steps[:, :, :-1].flatten(1), steps[:, :, -1])

    def put_into(self, chunk: Tensor) -> Tensor:
        """Return the chunk (B, H*A) with what is committed in its place."""
        return torch.where(self.free > 0, chunk, self.actions)


def check_committed(steps: int, spec: PolicySpec) -> None:
    """Raise PolicyError unless prefixes of so many steps leave a plan its n_action_steps."""
    most = spec.plan_steps - spec.n_action_steps
    if not 0 <= steps <= most:
        raise PolicyError(
            f"committed_steps: expected 0..{most} (horizon - n_action_steps), got {steps}."
        )


def draw_prefix(
    actions: Tensor, spec: PolicySpec, most: int, generator: torch.Generator
) -> Prefix | None:
    """Draw how many steps of each chunk are committed: half of the rows none, the others 1 to
    `most`. actions: normalised (B, H*A). None where `most` is 0, without drawing."""
    if most == 0:
        return None
    share = draw(torch.rand, (len(actions),), generator)
    beyond = (share - _SHARE_FREE).clamp(min=0) / (1 - _SHARE_FREE)  # 0, or uniform in [0, 1)
    count = torch.where(share < _SHARE_FREE, 0, 1 + (beyond * most).long())
    step = torch.arange(spec.horizon, device=actions.device) - spec.start_index
    mask = (step >= 0) & (step < count[:, None])
    return Prefix(actions, mask.to(actions.dtype))


def part_of(prefix: Prefix | None, *parts: slice) -> Prefix | None:
    """Return these rows of it, one part after another."""
    if prefix is None:
        return None
    return Prefix(*(torch.cat([x[part] for part in parts]) for x in prefix))


def telling(
    network: PolicyNetwork, prefix: Prefix | None, code: Tensor | None = None
) -> Callable[..., Any]:
    """Return the network as a function of (z, t, r, features) that is told this prefix and code."""
    given = {"prefix": prefix, "code": code}
    given = {name: x for name, x in given.items() if x is not None}
    return partial(network, **given) if given else network
