"""Which actions of a chunk see one another in a SmolVLA, as published and as it is trained anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ofp_edge.fields import Rgb, State, Text
from ofp_edge.policy.presets import preset
from ofp_edge.policy.vla.fresh import FreshVla
from ofp_edge.policy.vla.kinds import SmolVlaConfig
from ofp_edge.policy.vla.smolvla import SmolVlaExpert
from ofp_edge.spec import ActionField, PolicySpec

HORIZON = 4


@pytest.fixture(scope="module")
def config() -> SmolVlaConfig:
    fresh = preset("vla").network
    assert isinstance(fresh, FreshVla)
    size = fresh.vision.image
    seen = (
        State("state", (2,), "m", "base", (-1.0,) * 2, (1.0,) * 2),
        Rgb("rgb", (3, size, size), "1", "camera", (0.0,) * 3, (1.0,) * 3, camera="camera"),
        Text("instruction", choices=("go left", "go right")),
    )
    one = (1.0, 1.0)
    hand = ActionField("hand", (2,), "m", "base", "delta", 0.04, (-1.0, -1.0), one, 0.0)
    return fresh.for_spec(
        PolicySpec(
            observations=seen,
            actions=(hand,),
            control_hz=10.0,
            n_obs_steps=1,
            horizon=HORIZON,
            n_action_steps=2,
        ),
        None,
        0,
    )


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
