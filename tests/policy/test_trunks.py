"""Trunks: each keeps the flat contract, depends on its inputs, trains, and refuses misfits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ofp_edge.errors import PolicyError
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.network_config import NetworkConfig
from ofp_edge.policy.presets import preset
from ofp_edge.policy.trunks import find_trunks
from ofp_edge.policy.trunks.transformer import TransformerConfig
from ofp_edge.policy.trunks.trunk import Trunk, TrunkConfig
from ofp_edge.policy.trunks.unet import UnetConfig
from tests.synthetic import tiny_policy, tiny_trunk

ACTION_DIM, FEATURES = 4, 14
KINDS = pytest.mark.parametrize("kind", sorted(find_trunks()))
HORIZONS = pytest.mark.parametrize("horizon", [8, 16])


def config(trunk: TrunkConfig) -> NetworkConfig:
    return replace(preset("tiny").network, trunk=trunk)


def build_trunk(network: NetworkConfig, horizon: int, action_dim: int, features: int) -> Trunk:
    kind = find_trunks()[network.trunk.kind]
    return kind(network.trunk, network.condition, horizon, action_dim, features)


def make(kind: str, horizon: int = 8) -> Trunk:
    torch.manual_seed(0)
    return build_trunk(config(tiny_trunk(kind)), horizon, ACTION_DIM, FEATURES)


def inputs(batch: int, horizon: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = (horizon * ACTION_DIM, FEATURES, preset("tiny").network.condition)
    z, features, time = (torch.randn(batch, size, generator=generator) for size in sizes)
    return z, features, time


@KINDS
@HORIZONS
def test_a_new_trunk_is_the_constant_0_of_the_chunks_shape(kind: str, horizon: int) -> None:
    z, features, time = inputs(3, horizon)
    u = make(kind, horizon)(z, features, time)
    assert u.shape == z.shape and not u.any()


@KINDS
@HORIZONS
def test_rows_of_a_batch_do_not_mix(tmp_path: Path, kind: str, horizon: int) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", "state", trunk=kind, horizon=horizon))
    z, features, time = inputs(3, horizon)
    together = policy.network.trunk(z, features, time)
    assert together.std() > 1e-3
    for k in range(3):
        alone = policy.network.trunk(z[k : k + 1], features[k : k + 1], time[k : k + 1])
        torch.testing.assert_close(alone[0], together[k], atol=1e-5, rtol=1e-5)


@KINDS
@HORIZONS
def test_every_step_of_the_answer_sees_features_time_and_every_step_of_z(
    tmp_path: Path, kind: str, horizon: int
) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", "state", trunk=kind, horizon=horizon))
    trunk = policy.network.trunk
    z, features, time = (x.requires_grad_() for x in inputs(1, horizon))
    steps = trunk(z, features, time).view(horizon, ACTION_DIM)
    for step in steps:
        found = torch.autograd.grad(step.sum(), (z, features, time), retain_graph=True)
        by_step = found[0].view(horizon, ACTION_DIM).abs().sum(1)
        assert by_step.count_nonzero() >= min(horizon, 8)  # two levels reach that far
        assert found[1].any() and found[2].any()


@KINDS
def test_every_parameter_has_a_gradient_and_the_loss_falls(kind: str) -> None:
    trunk = make(kind)
    z, features, time = inputs(32)
    target = torch.tanh(z.flip(1) + features.sum(1, keepdim=True)) + time.mean(1, keepdim=True)
    optimiser = torch.optim.AdamW(trunk.parameters(), lr=1e-2)
    losses = []
    for step in range(80):
        loss = (trunk(z, features, time) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if step == 10:  # the branches that start at 0 have opened
            silent = [n for n, p in trunk.named_parameters() if p.grad is None or not p.grad.any()]
            # The softmax takes no notice of a number that is added to all its inputs.
            assert all(name.endswith("attention.key.bias") for name in silent)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_the_unet_preset_has_at_least_4_million_parameters() -> None:
    trunk = build_trunk(preset("unet").network, preset("unet").horizon, ACTION_DIM, FEATURES)
    assert sum(x.numel() for x in trunk.parameters()) >= 4_000_000


@pytest.mark.parametrize("name", ["unet", "transformer"])
@HORIZONS
def test_large_presets_take_both_horizons(name: str, horizon: int) -> None:
    network = preset(name).network
    trunk = build_trunk(network, horizon, ACTION_DIM, FEATURES)
    z, features, _ = inputs(1, horizon)
    assert trunk(z, features, torch.zeros(1, network.condition)).shape == z.shape


@pytest.mark.parametrize(
    ("trunk", "words"),
    [
        (UnetConfig((8, 8, 8, 8, 8), 1, 3), "expected a horizon that 16 divides, got 8"),
        (UnetConfig((8, 8), 1, 4), "kernel: expected an odd number of steps, got 4"),
        (TransformerConfig(16, 1, 3, 2), "width: expected a multiple of 3 heads, got 16"),
    ],
)
def test_sizes_that_do_not_fit_are_named(trunk: TrunkConfig, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        build_trunk(config(trunk), 8, ACTION_DIM, FEATURES)


@KINDS
def test_sizes_below_1_are_named(kind: str) -> None:
    plain = config(tiny_trunk(kind)).to_json()
    key = next(key for key in plain["trunk"] if key != "kind")
    plain["trunk"][key] = [0] if isinstance(plain["trunk"][key], (list, tuple)) else 0
    with pytest.raises(PolicyError, match=rf"trunk\.{key}: expected at least 1, got"):
        NetworkConfig.from_json(plain)
