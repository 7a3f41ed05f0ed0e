"""A policy that was trained with prefixes makes good what a committed one did wrong."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ofp_edge.fields import State
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, draw_prefix
from ofp_edge.policy.presets import preset
from ofp_edge.policy.stray import stray
from ofp_edge.policy.trunks.mlp import MlpConfig
from ofp_edge.spec import ActionField, PolicySpec

STEPS, COMMITTED, TRAINED, ROWS = 6, 2, 300, 128
SPEC = PolicySpec(
    (State("state", (1,), "m", "base", (-1.0,), (1.0,)),),
    (ActionField("move", (1,), "m", "base", "delta", 1.0, (-1.0,), (1.0,), 0.0),),
    1, STEPS, 1, 20.0,
)  # fmt: skip


def demonstrated(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """States, and an expert's chunk of each: what is seen says all of it."""
    seen = torch.rand(rows, 1, 1, generator=generator) * 2 - 1
    return seen, (0.3 * seen[:, 0]).expand(rows, STEPS)


def trained(*, strays: bool) -> PolicyNetwork:
    torch.manual_seed(0)
    sizes = replace(preset("tiny").network, trunk=MlpConfig(width=64, blocks=1), committed_steps=3)
    one = FieldStatistics.of_range((-1.0,), (1.0,))
    network = sizes.build(SPEC, {"state": one, "move": one})
    method, generator = build_method("ofp-plus"), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TRAINED)
    for step in range(TRAINED):
        seen, chunks = demonstrated(ROWS, generator)
        prefix = draw_prefix(chunks, SPEC, 3, generator)
        if strays:
            chunks, prefix = stray(network, chunks, prefix, generator)
        found = method.losses(network, network, [seen], chunks, step / TRAINED, generator, prefix)
        optimizer.zero_grad()
        torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def left_of_a_mistake(network: PolicyNetwork, mistake: float) -> float:
    """How far the whole chunk ends from where the expert's ends, if the committed steps together
    were `mistake` off; mean over states."""
    generator = torch.Generator().manual_seed(1)
    seen, chunks = demonstrated(256, generator)
    mask = (torch.arange(STEPS) < COMMITTED).float().expand(256, STEPS)
    told = Prefix(chunks + mistake / COMMITTED * mask, mask)
    noise = torch.randn(256, STEPS, generator=generator)
    with torch.no_grad():
        found = build_method("ofp-plus").sample(network, network.encode([seen]), noise, 1, told)
    return float((found - chunks).sum(1).mean())


def test_the_rest_of_the_chunk_makes_good_what_the_committed_part_did_wrong() -> None:
    network = trained(strays=True)
    for mistake in (-0.5, 0.5):
        assert abs(left_of_a_mistake(network, mistake)) < 0.5 * abs(mistake)
    # Without it the rest goes on as wrongly as it was begun: the expert's prefixes showed no other.
    assert abs(left_of_a_mistake(trained(strays=False), 0.5)) > 0.5
