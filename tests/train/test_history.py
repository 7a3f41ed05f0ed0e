"""Best and last: the lowest point of the validation curve is kept, through stops and resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from ofp_edge.errors import CheckFailed, PolicyError
from ofp_edge.policy.folder import load_policy
from ofp_edge.train import loop
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from ofp_edge.train.validation import Validation
from tests.train.test_loop import stop_at, weights

Ask = Callable[..., Request]


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make validation find these losses, one after the other."""

    def answer(*values: float) -> None:
        left: Iterator[float] = iter(values)
        monkeypatch.setattr(loop, "validate", lambda *_: Validation(next(left), 0.5))

    return answer


def test_validates_at_every_nth_step_and_at_the_last(ask: Ask) -> None:
    result = train(make_plan(ask()), validate_every=15)
    curve = json.loads((ask().output / "validation.json").read_text())
    assert [point["step"] for point in curve] == [15, 30, 40]
    assert result.validation.loss == curve[-1]["loss"]
    assert result.best is not None
    assert result.best.loss == min(point["loss"] for point in curve)


def test_best_is_the_policy_of_the_lowest_loss_and_the_output_the_last(
    ask: Ask, losses: Callable[..., None], tmp_path: Any
) -> None:
    losses(3.0, 1.0, 1.0, 2.0)
    result = train(make_plan(ask()), validate_every=10)
    assert result.best is not None
    assert (result.best.step, result.best.loss) == (20, 1.0)
    best, last = load_policy(ask().output / "best"), load_policy(ask().output)
    assert (best.config.training.step, last.config.training.step) == (20, 40)
    seen = make_plan(ask(output=tmp_path / "stopped"))
    losses(9.0)
    train(seen, progress=stop_at(20))
    assert weights(tmp_path / "stopped") == weights(ask().output / "best")
    assert not torch.equal(best.network.null, last.network.null)


def test_validating_changes_nothing_in_training(ask: Ask, tmp_path: Any) -> None:
    for name, every in (("a", 3), ("b", 1000)):
        train(make_plan(ask(output=tmp_path / name)), validate_every=every)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_a_resumed_run_remembers_its_best(
    ask: Ask, losses: Callable[..., None], tmp_path: Any
) -> None:
    losses(1.0, 2.0, 7.0)
    train(make_plan(ask()), validate_every=10, progress=stop_at(20))
    kept = weights(ask().output / "best")
    losses(3.0, 4.0)
    result = train(make_plan(ask(resume=True)), validate_every=10)
    assert result.best is not None and result.best.step == 10
    assert weights(ask().output / "best") == kept
    curve = json.loads((ask().output / "validation.json").read_text())
    assert [(point["step"], point["loss"]) for point in curve] == [
        (10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0),
    ]  # fmt: skip


def test_stopped_before_the_first_validation_there_is_no_best(ask: Ask) -> None:
    result = train(make_plan(ask()), progress=stop_at(10))
    assert result.best is None
    assert not (ask().output / "best").exists()
    assert train(make_plan(ask(resume=True))).best is not None


def test_a_validation_that_is_not_finite_stops_the_run(
    ask: Ask, losses: Callable[..., None]
) -> None:
    losses(1.0, float("nan"))
    with pytest.raises(CheckFailed, match=r"validation loss is not finite at step 20.*step 10 st"):
        train(make_plan(ask()), validate_every=10, checkpoint_every=10)
    assert load_policy(ask().output / "best").config.training.step == 10


@pytest.mark.parametrize("damage", ["{}", '[{"step": 1}]', "["])
def test_a_damaged_curve_is_refused(ask: Ask, damage: str) -> None:
    train(make_plan(ask()), validate_every=10, progress=stop_at(20))
    (ask().output / "validation.json").write_text(damage)
    with pytest.raises(PolicyError, match=r"validation\.json"):
        make_plan(ask(resume=True))


def test_the_best_can_be_started_from(ask: Ask, tmp_path: Any) -> None:
    train(make_plan(ask()), validate_every=10)
    plan = make_plan(ask(init=ask().output / "best", output=tmp_path / "on", steps=5))
    assert train(plan).step == 5


def test_tensorboard_gets_losses_and_validation_once_a_step_through_a_resume(
    ask: Ask, tmp_path: Any
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "events"
    train(make_plan(ask()), validate_every=10, tensorboard=folder, progress=stop_at(20))
    train(make_plan(ask(resume=True)), validate_every=10, tensorboard=folder)
    events = EventAccumulator(str(folder)).Reload()
    assert {"loss/flow", "loss/consistency", "learning_rate", "gradient_norm"} <= set(
        events.Tags()["scalars"]
    )
    curve = json.loads((ask().output / "validation.json").read_text())
    found = [(event.step, event.value) for event in events.Scalars("validation/loss")]
    assert [step for step, _ in found] == [10, 20, 30, 40]
    assert [x for _, x in found] == pytest.approx([point["loss"] for point in curve], rel=1e-5)
    assert [event.step for event in events.Scalars("loss/flow")] == [10, 20, 30, 40]
