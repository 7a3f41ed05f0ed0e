"""A state beyond what was demonstrated is cut off; within it, not a bit differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ofp_edge.errors import PolicyError
from ofp_edge.normalize import STATE_BOUND, FieldStatistics
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.encoder import Normalize
from ofp_edge.policy.folder import Policy, load_policy, read_config
from ofp_edge.policy.network_config import NetworkConfig
from ofp_edge.policy.presets import PRESETS
from ofp_edge.spec import PolicySpec
from tests.policy.test_network import observations
from tests.synthetic import action_fields, state_field

OLD = Path(__file__).parents[1] / "fixtures/version-0.1/policies"


def unbounded(policy: Policy) -> torch.nn.Module:
    """The same network, as it was before there was a bound."""
    config = policy.config
    assert isinstance(config.network, NetworkConfig)
    made = replace(config.network, state_bound=0.0).build(config.spec, policy.statistics)
    made.load_state_dict(policy.network.state_dict())
    return made.eval()


def states(policy: Policy, half_ranges: float) -> list[torch.Tensor]:
    """Observations whose state lies so far from the middle of what was demonstrated."""
    seen = observations(policy.config.spec)
    known = policy.statistics["state"]
    low, high = torch.tensor(known.low), torch.tensor(known.high)
    seen[0] = ((low + high) / 2 + half_ranges * (high - low) / 2).float().expand_as(seen[0])
    return seen


@pytest.mark.parametrize("half_ranges", [-1.499, -1.0, 0.0, 0.3, 1.0, 1.499])
def test_within_the_bound_not_a_bit_differs(policy: Policy, half_ranges: float) -> None:
    seen = states(policy, half_ranges)
    assert torch.equal(policy.network.encode(seen), unbounded(policy).encode(seen))


@pytest.mark.parametrize("half_ranges", [1.6, 7.0, 1e5, torch.inf])
@pytest.mark.parametrize("side", [-1, 1])
def test_beyond_it_the_network_sees_the_bound(
    policy: Policy, half_ranges: float, side: int
) -> None:
    at_it = policy.network.encode(states(policy, side * STATE_BOUND))
    assert torch.allclose(policy.network.encode(states(policy, side * half_ranges)), at_it)
    if half_ranges < torch.inf:
        far = unbounded(policy).encode(states(policy, side * half_ranges))
        assert not torch.allclose(far, at_it)


def test_points_and_images_are_not_cut_off(policy: Policy) -> None:
    assert [x.bound for x in policy.network.encoder.normalize] == [STATE_BOUND, 0.0]


def test_a_number_that_never_moved_is_0_until_it_moves_and_then_the_bound_at_most() -> None:
    still = Normalize(FieldStatistics((3.0,), (3.0,), (3.0,), (0.0,), 9), 2, STATE_BOUND)
    assert still(torch.tensor([[3.0], [3.5], [400.0]])).flatten().tolist() == [0.0, 0.5, 1.5]


def test_where_it_is_cut_off_is_a_range_also_of_a_number_that_is_large_and_never_moved(
    policy: Policy,
) -> None:
    size = len(policy.statistics["state"].low)
    still = FieldStatistics(*((x,) * size for x in (1e8, 1e8, 1e8, 0.0)), 9)
    deployed = deploy(replace(policy, statistics={**policy.statistics, "state": still}))
    bounds = deployed.state_bounds["state"]
    assert set(bounds.low) == {1e8 - STATE_BOUND} and set(bounds.high) == {1e8 + STATE_BOUND}


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"vla"}))
def test_every_new_network_has_it_and_keeps_it(name: str) -> None:
    spec = PolicySpec((state_field(7),), action_fields(), 1, 8, 2, 20.0)
    sizes = PRESETS[name].network
    assert isinstance(sizes, NetworkConfig) and sizes.state_bound == 0
    new = sizes.for_spec(spec, None, 0)
    assert new.state_bound == STATE_BOUND
    assert NetworkConfig.from_json(json.loads(json.dumps(new.to_json()))) == new


@pytest.mark.parametrize("folder", sorted(OLD.iterdir()), ids=lambda path: path.name)
def test_what_was_trained_before_answers_as_it_did(folder: Path) -> None:
    assert read_config(folder).network.state_bound == 0


@pytest.mark.parametrize("wrong", [0.5, -1.5, float("nan"), float("inf"), "1.5", True, None])
def test_a_bound_that_cuts_off_demonstrations_is_refused(policy_path: Path, wrong: object) -> None:
    path = policy_path / "config.json"
    value = json.loads(path.read_text())
    value["network"]["state_bound"] = wrong
    path.write_text(json.dumps(value))
    with pytest.raises(PolicyError, match="state_bound|NaN|Infinity"):
        load_policy(policy_path)
