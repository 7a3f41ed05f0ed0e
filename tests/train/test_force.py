"""`train --force`: the old policy stays until the new one is finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ofp_edge.errors import OfpError, OutputExists
from ofp_edge.policy.folder import load_policy
from ofp_edge.train import loop
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan, unfinished
from ofp_edge.train.request import Request
from tests.train.test_command import app
from tests.train.test_loop import everything, poisoned, stop_at, weights

Ask = Callable[..., Request]


@pytest.fixture
def old(ask: Ask) -> Path:
    """A finished policy."""
    train(make_plan(ask(steps=3, seed=7)))
    return ask().output


def test_the_old_policy_stands_at_every_checkpoint_and_the_new_one_at_the_end(
    ask: Ask, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = everything(old), []
    real = loop.save_checkpoint

    def look(plan: Any) -> None:
        seen.append(everything(old) == before)
        real(plan)
        seen.append(everything(old) == before)

    monkeypatch.setattr(loop, "save_checkpoint", look)
    result = train(make_plan(ask(force=True)), checkpoint_every=10)
    assert seen == [True] * 7 + [False]
    assert result.policy == old and load_policy(old).config.training.step == 40
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_stopped_and_resumed_beside_the_old_policy_equals_never_stopped(
    ask: Ask, old: Path, tmp_path: Path
) -> None:
    train(make_plan(ask(output=tmp_path / "straight")))
    before = everything(old)
    result = train(make_plan(ask(force=True)), checkpoint_every=10, progress=stop_at(20))
    assert result.interrupted and result.policy == unfinished(old)
    assert everything(old) == before
    assert load_policy(unfinished(old)).config.training.step == 20
    second = train(make_plan(ask(resume=True)), checkpoint_every=10)
    assert (second.resumed_from, second.policy) == (20, old)
    assert not unfinished(old).exists()
    for name in ("model.safetensors", "config.json", "validation.json", "best/model.safetensors"):
        assert (old / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def test_a_run_that_fails_keeps_the_old_policy_and_its_own_checkpoint(ask: Ask, old: Path) -> None:
    before, plan = everything(old), make_plan(ask(force=True))
    poisoned(plan, 25)
    with pytest.raises(OfpError, match=r"step 20 stays in .*policy.unfinished"):
        train(plan, checkpoint_every=10)
    assert everything(old) == before
    assert train(make_plan(ask(resume=True))).resumed_from == 20


def test_an_unfinished_run_is_not_begun_anew_without_force(ask: Ask, old: Path) -> None:
    train(make_plan(ask(force=True)), progress=stop_at(10))
    old.rename(old.with_name("kept"))
    with pytest.raises(OfpError, match="--resume goes on with it"):
        make_plan(ask())
    plan = make_plan(ask(force=True, seed=1))
    assert plan.state.step == 0 and plan.checkpoints == unfinished(old)
    train(plan, checkpoint_every=10)
    assert load_policy(old).config.training.seed == 1 and not unfinished(old).exists()


def test_a_policy_that_was_made_meanwhile_is_not_replaced(ask: Ask, tmp_path: Path) -> None:
    plan = make_plan(ask())
    train(make_plan(ask(seed=3, steps=2)))
    other = weights(ask().output)
    with pytest.raises(OutputExists):
        train(plan, checkpoint_every=10)
    assert weights(ask().output) == other


def test_the_command_says_which_folder_holds_what(
    points_data: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", str(points_data), "-o", str(old), "--preset", "tiny", "--steps", "40"]
    real = loop.train

    def stopped(*args: Any, **options: Any) -> Any:
        return real(*args, **{**options, "progress": stop_at(10)})

    monkeypatch.setattr(loop, "train", stopped)
    result = CliRunner().invoke(app(), [*words, "--force"])
    said = " ".join(result.output.split())
    assert result.exit_code == 130
    assert f"{old}.unfinished is usable as it is, --resume goes on" in said
    assert f"{old} is still the old one" in said
