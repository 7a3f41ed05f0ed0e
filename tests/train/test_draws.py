"""A step that draws noise several times for each window, which it encodes once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.policy import times
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.methods import METHODS, Flow
from ofp_edge.policy.methods.method import encoded
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.train.compute import Compute
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request

Ask = Callable[..., Request]


def rows_of(plan: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Train; return how many windows the network's encoder saw at each call, and how many rows the
    first pass of a step asked its trunk for."""
    network, seen = plan.state.network, {"encoder": [], "rows": []}
    network.encoder.register_forward_hook(
        lambda _, given, __: seen["encoder"].append(len(given[0]))
    )
    noise = times.noise_like

    def noted(actions: Tensor, generator: torch.Generator) -> Tensor:
        seen["rows"].append(len(actions))
        return noise(actions, generator)

    monkeypatch.setattr(times, "noise_like", noted)
    train(plan)
    return seen


@pytest.mark.parametrize("method", METHODS)
def test_each_window_is_encoded_once_and_drawn_for_often(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    found = rows_of(make_plan(ask(method=method, steps=3, batch_size=8, draws=5)), monkeypatch)
    frames = 2 * 8  # preset tiny looks at two steps
    assert set(found["encoder"]) == {frames}
    assert found["rows"].count(40) >= 3 and 8 not in found["rows"]
    assert load_policy(ask().output).config.training.settings.draws == 5


class Plain:
    """A network whose features are its observations."""

    def encode(self, observations: Sequence[Tensor]) -> Tensor:
        return observations[0]


def test_every_row_meets_the_features_of_its_own_window() -> None:
    network, windows = cast(PolicyNetwork, Plain()), torch.arange(6.0).view(3, 2)
    assert torch.equal(encoded(network, [windows], 7), windows[[0, 1, 2, 0, 1, 2, 0]])
    assert encoded(network, [windows], 3) is windows


def test_chunks_and_features_of_a_row_are_of_the_same_window(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(ask(method="flow", steps=2, batch_size=4, draws=3))
    met: list[tuple[Tensor, Tensor]] = []
    losses = Flow.losses

    def spied(self: Flow, network: PolicyNetwork, *given: Any) -> dict[str, Tensor]:
        met.append((given[2], given[1][0]))
        return losses(self, network, *given)

    monkeypatch.setattr(Flow, "losses", spied)
    train(plan)
    assert len(met) > 2
    for actions, windows in met[:-1]:  # the last is of validation
        assert len(windows) == 4 and actions.shape[0] == 12
        assert torch.equal(actions[:4], actions[4:8]) and torch.equal(actions[:4], actions[8:])


def test_the_draws_do_not_depend_on_the_parts_of_a_batch(ask: Ask, tmp_path: Path) -> None:
    asked = {"steps": 3, "draws": 2, "committed_steps": 3}
    train(make_plan(ask(**asked)))
    train(make_plan(ask(**asked, output=tmp_path / "b")), compute=Compute(accumulate=2))
    whole, halves = load_policy(ask().output), load_policy(tmp_path / "b")
    for one, other in zip(whole.network.parameters(), halves.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_none_and_one_are_the_run_of_before(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask()))
    train(make_plan(ask(draws=1, output=tmp_path / "one")))
    train(make_plan(ask(draws=2, output=tmp_path / "two")))
    one, same, other = (
        (x / "model.safetensors").read_bytes()
        for x in (ask().output, tmp_path / "one", tmp_path / "two")
    )
    assert one == same != other


def test_a_resumed_run_keeps_them_and_none_is_refused(ask: Ask) -> None:
    train(make_plan(ask(steps=3, draws=2)))
    assert make_plan(ask(resume=True, draws=2)).settings.draws == 2
    with pytest.raises(PolicyError, match="trained with draws 2, got 3"):
        make_plan(ask(resume=True, draws=3))
    with pytest.raises(OfpError, match="draws: expected a positive number, got 0"):
        make_plan(ask(draws=0, force=True))
