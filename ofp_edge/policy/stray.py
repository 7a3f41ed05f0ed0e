"""Prefixes that stray from what was demonstrated, and chunks that come back from where they end.

A demonstrated prefix says little that the observation does not: what the demonstrator does next
follows from what is seen. On a robot, what is committed comes of an earlier plan, which erred, and
the new plan must make that good: its own first steps, which nobody carries out, don't. So training
moves what is committed off the demonstration. The commands imply a place (a delta and a velocity
add up, an absolute command is one), which is then off by some distance; in what follows, this
distance falls to 1 / e in every RETURN_STEPS. ChauffeurNet (Bansal et al. 2018) strays from
demonstrated trajectories in the same way. docs/seam.md has what it does to success.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ofp_edge.policy.draws import draw
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix
from ofp_edge.spec import ActionField, PolicySpec

MOST = 0.4  # in the network's scale: each chunk's standard deviation is uniform from 0 to this
RETURN_STEPS = 2.0
_BY_STEP = 0.5  # how far steps of one chunk stray apart, as a share of what they stray together


def stray(
    network: PolicyNetwork, chunks: Tensor, prefix: Prefix | None, generator: torch.Generator
) -> tuple[Tensor, Prefix | None]:
    """Return the chunks to be found, and the prefix that they begin with, both off as above.

    chunks: normalised (B, H*A). Chunks without a prefix stay as they are. So do grippers and
    whatever else is never between two values, and absolute rotations: what lies beside one need
    not be a rotation. Nothing leaves its range. No prefix: nothing is drawn.
    """
    if prefix is None:
        return chunks, None
    rows, steps = prefix.mask.shape
    spec, mask = network.spec, prefix.mask.unsqueeze(2)
    clean = chunks.view(rows, steps, -1)  # (B, H, A)
    size = clean.shape[2]
    share = draw(torch.rand, (rows, 1, 1), generator)
    together = draw(torch.randn, (rows, 1, size), generator)
    apart = draw(torch.randn, (rows, steps, size), generator)
    low, high = (_in_scale(network, bound, chunks) for bound in ("low", "high"))
    far = (clean + MOST * share * (together + _BY_STEP * apart)).clamp(low, high) - clean
    off = far * mask * _flags(spec, _strays, chunks)

    adds = _flags(spec, lambda x: x.kind != "absolute", chunks) > 0
    step = torch.arange(steps, device=chunks.device)[None, :, None]
    after = step - (spec.start_index + mask.sum(1, keepdim=True) - 1)  # 1 at the first free one
    place = torch.where(adds, off.sum(1, keepdim=True), (off * (after == 0)).sum(1, keepdim=True))
    left, before = (torch.exp(-x.clamp(min=0) / RETURN_STEPS) for x in (after, after - 1))
    back = place * torch.where(adds, left - before, left) * (after > 0)
    back = torch.where(back == 0, clean, (clean + back).clamp(low, high))
    found = torch.where(mask > 0, clean + off, back).flatten(1)
    return found, Prefix(found, prefix.mask)


def _strays(field: ActionField) -> bool:
    rotates = field.rotation is not None and field.kind == "absolute"
    return field.interpolation == "linear" and not rotates


def _flags(spec: PolicySpec, of: Callable[[ActionField], bool], like: Tensor) -> Tensor:
    """(A,): 1 for every number of the fields of which this holds."""
    flags = [float(of(x)) for x in spec.actions for _ in range(x.shape[0])]
    return torch.tensor(flags, device=like.device)


def _in_scale(network: PolicyNetwork, bound: str, like: Tensor) -> Tensor:
    """(1, H, A): a bound of the actions in the network's scale."""
    row = [x for field in network.spec.actions for x in getattr(field, bound)]
    raw = torch.tensor(row, device=like.device).expand(1, network.spec.horizon, -1)
    return network.normalize_actions(raw).to(like.dtype).view(1, network.spec.horizon, -1)
