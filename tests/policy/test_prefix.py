"""A committed prefix: what the network is told, what losses leave out, what stands in a chunk."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.methods import METHODS, build_method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, draw_prefix, part_of, telling
from ofp_edge.policy.trunks import find_trunks
from ofp_edge.policy.trunks.mlp import MlpConfig
from ofp_edge.policy.trunks.trunk import Trunk
from tests.synthetic import tiny_policy

STEPS, DIM = 8, 4
KINDS = pytest.mark.parametrize("kind", sorted(find_trunks()))
EVERY_METHOD = pytest.mark.parametrize("name", sorted(METHODS))


def told(tmp_path: Path, kind: str = "mlp") -> PolicyNetwork:
    path = tiny_policy(tmp_path / kind, "state", trunk=kind, committed_steps=4)
    return load_policy(path).network


def inputs(network: PolicyNetwork, rows: int = 3) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(rows, network.chunk_size, generator=generator)
    t, r = torch.rand(2, rows, generator=generator).sort(0).values
    return z, t, r, torch.randn(rows, network.null.numel(), generator=generator)


def first(steps: int, rows: int = 3, seed: int = 2) -> Prefix:
    """The first steps are committed; the actions beyond them are noise that nobody may see."""
    generator = torch.Generator().manual_seed(seed)
    actions = torch.randn(rows, STEPS * DIM, generator=generator)
    return Prefix(actions, (torch.arange(STEPS) < steps).float().expand(rows, STEPS))


@KINDS
def test_untrained_layers_of_a_prefix_change_nothing(tmp_path: Path, kind: str) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", "state", trunk=kind))
    z, t, r, features = inputs(policy.network)
    before = policy.network(z, t, r, features)
    network = policy.committing(4, "it").network
    assert torch.equal(network(z, t, r, features, first(0)), before)
    inside = first(3)
    placed = policy.network(inside.put_into(z), t, r, features)
    torch.testing.assert_close(network(z, t, r, features, inside), placed)


@KINDS
def test_the_network_is_told_mask_and_values(tmp_path: Path, kind: str) -> None:
    network, (z, t, r, features) = told(tmp_path, kind), inputs(told(tmp_path / "x", kind))
    found = network(z, t, r, features, first(3))
    assert not torch.allclose(found, network(z, t, r, features))
    assert not torch.allclose(found, network(z, t, r, features, first(4)))
    assert not torch.allclose(found, network(z, t, r, features, first(3, seed=9)))
    marked = replace_mask_alone(network, z, t, r, features)
    assert not torch.allclose(*marked)


def replace_mask_alone(network: PolicyNetwork, z: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    """u of the same z and values, once marked as committed and once as noise."""
    time, trunk = network.time(others[0], others[1]), network.trunk
    marked = Prefix(torch.zeros_like(z), first(3).mask).told
    return trunk(z, others[2], time, marked), trunk(z, others[2], time, 0 * marked)


@KINDS
def test_neither_noise_inside_nor_actions_outside_the_prefix_are_seen(
    tmp_path: Path, kind: str
) -> None:
    network, (z, t, r, features) = told(tmp_path, kind), inputs(told(tmp_path / "x", kind))
    prefix = first(3)
    inside, outside = 1 - prefix.free, prefix.free
    found = network(z, t, r, features, prefix)
    torch.testing.assert_close(network(z + 7 * inside, t, r, features, prefix), found)
    other = prefix._replace(actions=prefix.actions + 7 * outside)
    torch.testing.assert_close(network(z, t, r, features, other), found)


@EVERY_METHOD
@pytest.mark.parametrize("nfe", [1, 3])
def test_what_is_committed_stands_in_the_chunk_unchanged(
    tmp_path: Path, name: str, nfe: int
) -> None:
    network, prefix = told(tmp_path), first(3)
    z, _, _, features = inputs(network)
    with torch.no_grad():
        chunk = build_method(name).sample(network, features, z, nfe, prefix)
    held = prefix.free == 0
    assert torch.equal(chunk[held], prefix.actions[held])
    assert not torch.equal(chunk[~held], prefix.actions[~held])


@EVERY_METHOD
@pytest.mark.parametrize("progress", [0.0, 0.3, 0.9])
def test_an_empty_prefix_has_the_losses_of_none(tmp_path: Path, name: str, progress: float) -> None:
    network = told(tmp_path)
    assert losses(name, network, progress, first(0, 16)) == losses(name, network, progress, None)


def losses(
    name: str, network: PolicyNetwork, progress: float, prefix: Prefix | None
) -> dict[str, float]:
    generator = torch.Generator().manual_seed(3)
    seen = [torch.rand(16, 2, 7, generator=generator)]
    actions = torch.randn(16, network.chunk_size, generator=generator)
    found = build_method(name).losses(
        network, copy.deepcopy(network), seen, actions, progress, generator, prefix
    )
    return {key: value.item() for key, value in found.items()}


class Wild(nn.Module):
    """The exact field of one datum where an action is free, and nonsense inside the prefix."""

    codes = None

    def __init__(self, data: Tensor) -> None:
        super().__init__()
        self.data, self.null = data, nn.Parameter(torch.zeros(2))
        self.counted, self.encoder = None, nn.Identity()
        self.untold = 0

    def encode(self, observations: Sequence[Tensor]) -> Tensor:
        return observations[0]

    def forward(
        self, z: Tensor, t: Tensor, r: Tensor, features: Tensor, prefix: Prefix | None = None
    ) -> Tensor:
        self.untold += prefix is None or len(prefix.mask) != len(z)
        exact = (self.data - z) / (1 - t).clamp(min=1e-6)[:, None]
        return exact if prefix is None else torch.where(prefix.free > 0, exact, 50.0)


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", sorted(set(METHODS) - {"diffusion"}))
def test_no_term_counts_what_is_committed_and_every_call_is_told(
    name: str, progress: float
) -> None:
    data = torch.linspace(-0.8, 0.9, STEPS * DIM)
    network: Any = Wild(data)
    teacher: Any = Wild(data)
    actions = data.expand(64, -1)
    generator = torch.Generator().manual_seed(0)
    seen = [torch.ones(64, 2)]
    prefix = first(3, 64)._replace(actions=actions)
    found = build_method(name).losses(network, teacher, seen, actions, progress, generator, prefix)
    for term, value in found.items():
        assert float(value) < 1e-4, (term, value)
    assert network.untold == 0 and teacher.untold == 0


def test_the_rows_that_a_method_takes_apart_keep_their_own_prefix() -> None:
    count = torch.arange(STEPS).unsqueeze(1)
    mask = (torch.arange(STEPS) < count).float()
    prefix = Prefix(mask.repeat_interleave(DIM, 1) * count, mask)
    found = part_of(prefix, slice(2), slice(5, 6))
    assert found is not None
    assert found.mask.sum(1).tolist() == [0, 1, 5]
    assert found.actions.amax(1).tolist() == [0, 1, 5]
    assert part_of(None, slice(2)) is None and telling(network := nn.Identity(), None) is network  # type: ignore[arg-type,comparison-overlap]


def test_half_of_the_rows_are_free_and_the_others_have_every_length(tmp_path: Path) -> None:
    spec = replace(told(tmp_path).spec, start_index=1)
    generator = torch.Generator().manual_seed(0)
    found = draw_prefix(torch.zeros(20_000, STEPS * DIM), spec, 4, generator)
    assert found is not None
    counts = found.mask.sum(1).long()
    assert counts.unique().tolist() == [0, 1, 2, 3, 4]
    assert (counts == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (counts == 4).float().mean().item() == pytest.approx(0.125, abs=0.02)
    # The first predicted action lies before the observation: the prefix begins at the second.
    assert not found.mask[:, 0].any() and bool((found.mask[:, 1] == (counts > 0)).all())


def test_what_act_is_told_says_it_by_step_and_back() -> None:
    prefix = Prefix(torch.arange(1.0, 7).repeat(2, 1), torch.tensor([[1.0, 0, 0], [1, 1, 0]]))
    assert prefix.told.tolist() == [[1, 2, 1, 0, 0, 0, 0, 0, 0], [1, 2, 1, 3, 4, 1, 0, 0, 0]]
    found = Prefix.of(prefix.told, prefix.free)
    assert torch.equal(found.mask, prefix.mask) and torch.equal(found.told, prefix.told)
    z = torch.full((2, 6), 9.0)
    assert found.put_into(z).tolist() == [[1, 2, 9, 9, 9, 9], [1, 2, 3, 4, 9, 9]]


def test_without_prefixes_nothing_is_drawn(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert draw_prefix(torch.zeros(4, STEPS * DIM), told(tmp_path).spec, 0, generator) is None
    assert torch.equal(generator.get_state(), before)


def test_the_configuration_says_how_long_a_prefix_may_be(tmp_path: Path) -> None:
    plain = load_policy(tiny_policy(tmp_path / "plain", "state")).config
    assert "committed_steps" not in plain.to_json()["network"]
    config = load_policy(tiny_policy(tmp_path / "told", "state", committed_steps=3)).config
    assert config.to_json()["network"]["committed_steps"] == 3
    assert type(config).from_json(config.to_json()) == config


@pytest.mark.parametrize("steps", [5, -1])
def test_a_prefix_leaves_the_plan_its_actions(tmp_path: Path, steps: int) -> None:
    with pytest.raises(PolicyError, match=r"expected 0\.\.4 .*got"):
        tiny_policy(tmp_path / "p", "state", committed_steps=steps)


def test_a_trunk_that_takes_none_says_so() -> None:
    class Deaf(Trunk):
        sizes = MlpConfig

    with pytest.raises(PolicyError, match="a trunk of kind mlp takes no committed prefix"):
        Deaf(MlpConfig(8, 1), 4, STEPS, DIM, 3).hear()


def test_a_trained_prefix_can_be_longer_but_not_taken_out(tmp_path: Path) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", "state", committed_steps=3))
    longer = policy.committing(4, "it")
    assert longer.network.committed_steps == longer.config.network.committed_steps == 4
    assert torch.equal(longer.network.trunk.told.weight, policy.network.trunk.told.weight)
    with pytest.raises(PolicyError, match="it: trained with committed prefixes of up to 3"):
        policy.committing(0, "it")
