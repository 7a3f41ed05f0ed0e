"""Training with a committed prefix: asked for, recorded, resumed, added to a policy without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix
from ofp_edge.policy.stray import stray
from ofp_edge.train.compute import Compute
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request

Ask = Callable[..., Request]


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def test_the_policy_says_what_it_was_trained_with_and_learns_it(ask: Ask) -> None:
    train(make_plan(ask(committed_steps=3)))
    policy = load_policy(ask().output)
    assert policy.config.network.committed_steps == policy.network.committed_steps == 3
    assert policy.network.trunk.told.weight.any()


def test_prefixes_stray_from_what_was_demonstrated(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def spied(network: PolicyNetwork, chunks: Tensor, *more: Any) -> tuple[Tensor, Prefix | None]:
        found, prefix = stray(network, chunks, *more)
        assert prefix is not None
        inside = prefix.free == 0
        told.append(((prefix.actions != chunks) & inside).any() and not inside.all())
        return found, prefix

    monkeypatch.setattr("ofp_edge.train.step.stray", spied)
    train(make_plan(ask(committed_steps=3, steps=3)))
    assert told == [True] * 3
    monkeypatch.setattr("ofp_edge.train.step.stray", lambda _, chunks, prefix, __: (chunks, prefix))
    train(make_plan(ask(committed_steps=3, steps=3, output=tmp_path / "exact")))
    assert weights(ask().output) != weights(tmp_path / "exact")


def test_none_is_the_run_of_before(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask()))
    train(make_plan(ask(committed_steps=0, output=tmp_path / "other")))
    assert weights(ask().output) == weights(tmp_path / "other")
    assert (ask().output / "config.json").read_text().find("committed") == -1


def test_the_draws_do_not_depend_on_the_parts_of_a_batch(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask(committed_steps=3, steps=3)))
    parts = Compute(accumulate=2)
    train(make_plan(ask(committed_steps=3, steps=3, output=tmp_path / "b")), compute=parts)
    whole, halves = load_policy(ask().output), load_policy(tmp_path / "b")
    for one, other in zip(whole.network.parameters(), halves.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_weights_without_a_prefix_are_a_start_for_training_with_one(
    ask: Ask, tmp_path: Path
) -> None:
    train(make_plan(ask()))
    plan = make_plan(ask(init=ask().output, output=tmp_path / "on", steps=5, committed_steps=2))
    start, told = load_policy(ask().output).network.state_dict(), plan.state.network.state_dict()
    assert set(told) - set(start) == {"trunk.told.weight", "codes.chooser.told.weight"}
    assert all(torch.equal(told[name], start[name]) for name in start)
    assert not told["trunk.told.weight"].any()
    train(plan)
    # And its own is what goes on where nothing is said.
    again = make_plan(ask(init=tmp_path / "on", output=tmp_path / "more", steps=5))
    assert again.policy.config.network.committed_steps == 2


def test_a_resumed_run_keeps_it(ask: Ask) -> None:
    train(make_plan(ask(committed_steps=3)))
    assert make_plan(ask(resume=True, committed_steps=3)).resumed_from == 40
    with pytest.raises(PolicyError, match="trained with committed_steps 3, got 2"):
        make_plan(ask(resume=True, committed_steps=2))


def test_more_than_a_plan_can_spare_is_refused_before_any_work(ask: Ask) -> None:
    with pytest.raises(PolicyError, match=r"committed_steps: expected 0..4 .*, got 5"):
        make_plan(ask(committed_steps=5))
