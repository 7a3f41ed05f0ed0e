"""Which actions of a chunk see one another in a SmolVLA, as published and as it is trained anew."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.fields import Rgb, State, Text
from ofp_edge.normalize import STATE_BOUND, FieldStatistics
from ofp_edge.policy.presets import preset
from ofp_edge.policy.vla.fresh import FreshVla
from ofp_edge.policy.vla.kinds import SmolVlaConfig
from ofp_edge.policy.vla.smolvla import SmolVlaExpert
from ofp_edge.spec import ActionField, PolicySpec

HORIZON = 4
_SIZE = cast(FreshVla, preset("vla").network).vision.image
_ONE = (1.0, 1.0)
SPEC = PolicySpec(
    observations=(
        State("state", (2,), "m", "base", (-1.0,) * 2, (1.0,) * 2),
        Rgb("rgb", (3, _SIZE, _SIZE), "1", "camera", (0.0,) * 3, (1.0,) * 3, camera="camera"),
        Text("instruction", choices=("go left", "go right")),
    ),
    actions=(ActionField("hand", (2,), "m", "base", "delta", 0.04, (-1.0, -1.0), _ONE, 0.0),),
    control_hz=10.0,
    n_obs_steps=1,
    horizon=HORIZON,
    n_action_steps=2,
)


@pytest.fixture(scope="module")
def config() -> SmolVlaConfig:
    fresh = preset("vla").network
    assert isinstance(fresh, FreshVla)
    return fresh.for_spec(SPEC, None, 0)


def test_its_state_is_cut_off_and_neither_pictures_nor_actions_can_be(
    config: SmolVlaConfig,
) -> None:
    assert config.state_bound == STATE_BOUND
    assert config.normalization == {"state": "bounded", "rgb": "identity", "hand": "min_max"}
    statistics = {
        name: FieldStatistics.of_range((-1.0,) * size, (1.0,) * size)
        for name, size in (("state", 2), ("rgb", 3), ("hand", 2))
    }
    torch.manual_seed(0)
    network = config.begin(config.build(SPEC, statistics)).eval()
    size = SPEC.observations[1].shape[1]
    picture, words = torch.rand(1, 1, 3, size, size), torch.zeros(1, 1, dtype=torch.int64)

    def seen(number: float) -> Tensor:
        return network.encode([torch.full((1, 1, 2), number), picture, words])

    assert torch.equal(seen(1e6), seen(STATE_BOUND))
    assert not torch.equal(seen(1.2), seen(STATE_BOUND))
    for name in ("rgb", "hand"):
        wrong = replace(config, normalization={**config.normalization, name: "bounded"})
        with pytest.raises(PolicyError, match=f"normalization.{name}: expected one of"):
            wrong.build(SPEC, statistics)


def moved(config: SmolVlaConfig, changed: int) -> Tensor:
    """Return by step whether the velocity there moves with the noise of step `changed`."""
    torch.manual_seed(0)
    expert = SmolVlaExpert(
        config.expert, config.flow, config.crosses, HORIZON, causal=config.causal
    )
    heads, words, size = config.expert.kv_heads, 5, config.expert.head_dim
    kv = torch.randn(1, config.expert.layers * 2 * heads, words, size)
    valid, time = torch.ones(1, words), torch.randn(1, config.expert.width)
    z = torch.randn(1, HORIZON, config.flow.width)
    other = z.clone()
    other[0, changed] += 1.0
    with torch.no_grad():
        one, two = (expert(x.flatten(1), kv, valid, time) for x in (z, other))
    found: Tensor = ((one - two).view(HORIZON, -1) != 0).any(1)
    return found


def test_a_new_network_decides_with_the_noise_of_the_whole_chunk(config: SmolVlaConfig) -> None:
    assert not config.causal
    assert moved(config, HORIZON - 1).all() and moved(config, 0).all()


def test_the_published_one_does_not_see_what_comes_later(config: SmolVlaConfig) -> None:
    published = replace(config, causal=True)
    assert moved(published, HORIZON - 1).tolist() == [False] * (HORIZON - 1) + [True]
    assert moved(published, 0).all()


def test_a_folder_that_does_not_say_is_a_published_one(config: SmolVlaConfig) -> None:
    entry = {name: x for name, x in config.to_json().items() if name != "kind"}
    assert entry["causal"] is False and SmolVlaConfig.from_json(entry) == config
    del entry["causal"]
    assert SmolVlaConfig.from_json(entry).causal
