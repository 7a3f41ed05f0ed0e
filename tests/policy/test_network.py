"""The network: shapes, the encoder's fast training path, independence of frames and rows."""

from __future__ import annotations

import copy

import pytest
import torch

from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.encoder import PointEncoder
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.presets import PRESETS, preset
from ofp_edge.spec import PolicySpec
from tests.synthetic import N_POINTS, action_fields, state_field


def observations(spec: PolicySpec, batch: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.rand((batch, spec.n_obs_steps, *f.shape), generator=generator) * 0.4 + 0.1
        for f in spec.observations
    ]


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"vla"}))
def test_training_encodes_the_same_value_and_gradient_by_another_way(name: str) -> None:
    torch.manual_seed(0)
    encoder = PointEncoder(preset(name).network)
    clouds = torch.randn(20, 3, 1, 96)
    clouds[:, :, :, 7] = clouds[:, :, :, 3]  # a repeated point: two winners
    seed = torch.randn(20, preset(name).network.point_features)
    values, gradients = [], []
    for training in (True, False):
        encoder.train(training).zero_grad()
        value = encoder(clouds)
        (value * seed).sum().backward()
        values.append(value.detach())
        gradients.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    torch.testing.assert_close(values[0], values[1], atol=1e-5, rtol=0)
    assert len(gradients[0]) == len(list(encoder.parameters()))
    for fast, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-4 * float(plain.abs().max()), rtol=0)


def test_order_of_points_does_not_matter(policy: Policy) -> None:
    seen = observations(policy.config.spec)
    shuffled = [seen[0], seen[1][..., torch.randperm(N_POINTS)]]
    torch.testing.assert_close(policy.network.encode(seen), policy.network.encode(shuffled))


def test_a_frame_is_encoded_without_its_neighbours(policy: Policy) -> None:
    seen = observations(policy.config.spec)
    features = policy.network.encode(seen).view(3, 2, -1)
    changed = [x.clone() for x in seen]
    for x in changed:
        x[:, 0] = 0
    again = policy.network.encode(changed).view(3, 2, -1)
    torch.testing.assert_close(again[:, 1], features[:, 1])
    assert not torch.allclose(again[:, 0], features[:, 0])


@pytest.mark.parametrize("what", ["z", "t", "r", "features"])
def test_velocity_depends_on_every_input(policy: Policy, what: str) -> None:
    size = policy.network.chunk_size
    features = policy.network.encode(observations(policy.config.spec))
    inputs = {
        "z": torch.randn(3, size), "t": torch.full((3,), 0.2), "r": torch.full((3,), 0.7),
        "features": features,
    }  # fmt: skip
    changed = {**inputs, what: inputs[what] + 0.1}
    assert not torch.allclose(policy.network(**inputs), policy.network(**changed), atol=1e-4)


def test_a_new_network_answers_zero_everywhere() -> None:
    spec = PolicySpec((state_field(7),), action_fields(), 2, 8, 4, 20.0)
    ranges = [(f.name, f.low, f.high) for f in spec.observations]
    ranges += [(f.name, f.low, f.high) for f in spec.actions]
    statistics = {name: FieldStatistics.of_range(low, high) for name, low, high in ranges}
    network = preset("tiny").network.build(spec, statistics)
    one = torch.ones(2)
    u = network(torch.randn(2, 32), 0 * one, one, network.encode(observations(spec, 2)))
    assert not u.any()


def test_actions_survive_the_round_trip(policy: Policy) -> None:
    raw = torch.rand(5, 8, 4) * 2 - 1
    flat = policy.network.normalize_actions(raw)
    assert flat.shape == (5, 32)
    torch.testing.assert_close(policy.network.denormalize_actions(flat), raw)


def test_training_in_a_copy_leaves_the_original_alone(policy: Policy) -> None:
    clone = copy.deepcopy(policy.network).train()
    before = {name: x.clone() for name, x in policy.network.state_dict().items()}
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.add_(1)
    seen = observations(policy.config.spec)
    assert not torch.allclose(clone.encode(seen), policy.network.encode(seen))
    for name, value in policy.network.state_dict().items():
        torch.testing.assert_close(value, before[name])
