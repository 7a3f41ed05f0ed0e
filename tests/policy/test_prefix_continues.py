"""A policy that was trained with committed prefixes goes on from what it is given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ofp_edge.fields import State
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, draw_prefix
from ofp_edge.policy.presets import preset
from ofp_edge.policy.trunks.mlp import MlpConfig
from ofp_edge.spec import ActionField, PolicySpec

STEPS, COMMITTED, TRAINED, ROWS = 4, 2, 150, 64
SPEC = PolicySpec(
    (State("state", (1,), "m", "base", (-1.0,), (1.0,)),),
    (ActionField("move", (1,), "m", "base", "absolute", 1.0, (-1.0,), (1.0,), None),),
    1, STEPS, 1, 20.0,
)  # fmt: skip


def still(rows: int, generator: torch.Generator) -> Tensor:
    """Chunks that stay where they begin, anywhere: nothing that is seen says where."""
    return (torch.rand(rows, 1, generator=generator) * 2 - 1).expand(rows, STEPS)


def trained(name: str, trunk: MlpConfig) -> PolicyNetwork:
    torch.manual_seed(0)
    sizes = replace(preset("tiny").network, trunk=trunk, committed_steps=3)
    one = FieldStatistics.of_range((-1.0,), (1.0,))
    network = sizes.build(SPEC, {"state": one, "move": one})
    method, generator = build_method(name), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TRAINED)
    for step in range(TRAINED):
        actions = still(ROWS, generator)
        prefix = draw_prefix(actions, SPEC, 3, generator)
        seen = [torch.zeros(ROWS, 1, 1)]
        found = method.losses(network, network, seen, actions, step / TRAINED, generator, prefix)
        optimizer.zero_grad()
        torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def jump(network: PolicyNetwork, name: str, nfe: int, *, told: bool) -> float:
    """How far the first free action is from what was committed, on average."""
    generator = torch.Generator().manual_seed(1)
    actions = still(256, generator)
    mask = (torch.arange(STEPS) < COMMITTED).float().expand(256, STEPS)
    noise = torch.randn(256, STEPS, generator=generator)
    with torch.no_grad():
        features = network.encode([torch.zeros(256, 1, 1)])
        prefix = Prefix(actions, mask) if told else None
        chunk = build_method(name).sample(network, features, noise, nfe, prefix)
    return float((chunk - actions)[:, COMMITTED].abs().mean())


@pytest.mark.parametrize(("name", "nfe"), [("ofp-plus", 1), ("flow", 8)])
def test_the_first_free_action_goes_on_from_the_last_committed_one(name: str, nfe: int) -> None:
    network = trained(name, MlpConfig(width=64, blocks=1))
    assert jump(network, name, nfe, told=True) < 0.3 * jump(network, name, nfe, told=False)
