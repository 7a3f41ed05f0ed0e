"""A horizon as long as a robot's latency needs it: asked for, recorded, kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.policy.folder import load_policy
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request

Ask = Callable[..., Request]


def test_the_policy_has_the_horizon_that_was_asked_for_and_keeps_it(
    ask: Ask, tmp_path: Path
) -> None:
    train(make_plan(ask(horizon=12, n_action_steps=3, committed_steps=9, steps=2)))
    spec = load_policy(ask().output).config.spec
    assert (spec.horizon, spec.n_action_steps) == (12, 3)
    assert make_plan(ask(resume=True, horizon=12)).resumed_from == 2
    with pytest.raises(PolicyError, match="trained with horizon 12, got 16"):
        make_plan(ask(resume=True, horizon=16))
    start = {"init": ask().output, "output": tmp_path / "on", "steps": 1}
    assert make_plan(ask(n_action_steps=3, **start)).policy.config.spec.horizon == 12
    with pytest.raises(PolicyError, match=r"--horizon 16: .* has 12\. Leave --init out"):
        make_plan(ask(horizon=16, **start))


def test_by_default_it_is_the_presets(ask: Ask) -> None:
    spec = make_plan(ask()).policy.config.spec
    assert (spec.horizon, spec.n_action_steps) == (8, 4)


@pytest.mark.parametrize(
    "wrong", [{"horizon": 0}, {"n_action_steps": 0}, {"n_action_steps": 9}, {"horizon": 3}]
)
def test_steps_that_no_chunk_has_are_one_line(ask: Ask, wrong: dict[str, int]) -> None:
    with pytest.raises(OfpError, match="expected") as caught:
        make_plan(ask(**wrong))
    assert "\n" not in str(caught.value)
