"""Training: it learns, repeats itself by seed, stops cleanly and resumes bit by bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ofp_edge.errors import CheckFailed, PolicyError
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.methods import METHODS, build_method, options_of
from ofp_edge.train import loop, state
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request

Ask = Callable[..., Request]


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def everything(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def stop_at(step: int, number: signal.Signals = signal.SIGINT) -> Any:
    def progress(done: int, total: int, note: str = "") -> None:
        if done == step:
            os.kill(os.getpid(), number)

    return progress


@pytest.mark.parametrize("name", ["points_data", "state_data"])
def test_learns_what_the_data_shows(ask: Ask, request: pytest.FixtureRequest, name: str) -> None:
    data = request.getfixturevalue(name)
    untrained = train(make_plan(ask(dataset=data, steps=1)))
    trained = train(make_plan(ask(dataset=data, steps=400, force=True)))
    assert trained.validation.loss < 0.7 * untrained.validation.loss
    assert trained.validation.chunk_error < 0.7 * untrained.validation.chunk_error


def test_writes_a_policy_that_loads(ask: Ask) -> None:
    plan = make_plan(ask())
    result = train(plan)
    policy = load_policy(plan.request.output)
    assert policy.config.method == "ofp-plus"
    assert policy.config.training.step == result.step == 40
    assert policy.config.training.held_out == (11,)
    assert policy.config.training.dataset_sha256 == plan.dataset.sha256
    assert policy.config.method_options == options_of(build_method("ofp-plus"))
    assert result.parameters == policy.network.parameter_count
    assert not result.interrupted
    assert {file.name for file in plan.request.output.iterdir()} == {
        "config.json", "model.safetensors", "statistics.json", "validation.json", "best",
    }  # fmt: skip


def test_the_second_moment_follows_within_a_hundred_steps(ask: Ask) -> None:
    _, second = make_plan(ask()).state.optimizer.defaults["betas"]
    assert second**100 < 0.5


def test_ships_the_averaged_weights(ask: Ask) -> None:
    plan = make_plan(ask())
    train(plan)
    saved = load_file(plan.request.output / "model.safetensors")
    live = plan.state.network.state_dict()
    assert torch.equal(saved["null"], plan.state.average.state_dict()["null"])
    assert not torch.equal(saved["null"], live["null"])


def test_same_seed_same_policy_another_seed_another(ask: Ask, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)  # what ran before doesn't matter
        train(make_plan(ask(output=tmp_path / name, seed=seed)))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.mark.parametrize(
    ("method", "number"),
    [*((name, signal.SIGINT) for name in sorted(METHODS)), ("ofp-plus", signal.SIGTERM)],
)
def test_stopped_and_resumed_equals_never_stopped(
    ask: Ask, tmp_path: Path, method: str, number: signal.Signals
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    whole = train(make_plan(ask(output=straight, method=method)))
    first = train(make_plan(ask(output=broken, method=method)), progress=stop_at(20, number))
    assert first.interrupted
    assert first.step == 20
    assert load_policy(broken).config.training.step == 20
    second = train(make_plan(ask(output=broken, resume=True)))
    assert second.resumed_from == 20
    assert weights(straight) == weights(broken)
    assert (straight / "config.json").read_bytes() == (broken / "config.json").read_bytes()
    assert (whole.loss, whole.validation) == (second.loss, second.validation)
    assert whole.best == second.best
    assert weights(straight / "best") == weights(broken / "best")
    assert not (broken / "training").exists()


def test_resume_state_is_never_a_pickle(ask: Ask) -> None:
    plan = make_plan(ask())
    train(plan, progress=stop_at(10))
    names = {file.name for file in (plan.request.output / "training").iterdir()}
    assert names == {"state.safetensors", "state.json"}


def test_resuming_a_finished_run_changes_nothing(ask: Ask) -> None:
    train(make_plan(ask()))
    output = ask().output
    before = everything(output)
    result = train(make_plan(ask(resume=True)))
    assert (result.step, result.resumed_from, result.loss) == (40, 40, None)
    assert everything(output) == before


def test_signal_handlers_are_put_back(ask: Ask) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(make_plan(ask(steps=1)))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def poisoned(plan: Any, at: int) -> None:
    """Make the loss NaN from step `at` on, by way of a real overflow in the weights."""

    class Method(type(plan.method)):  # type: ignore[misc]
        def losses(self, network: Any, *rest: Any) -> Any:
            if plan.state.step == at:
                with torch.no_grad():
                    network.trunk.outlet.weight.fill_(1e38)
            return super().losses(network, *rest)

    plan.method = Method()


def test_nan_stops_and_keeps_the_last_good_checkpoint(ask: Ask) -> None:
    plan = make_plan(ask())
    poisoned(plan, 25)
    with pytest.raises(CheckFailed, match=r"at step 26.*checkpoint of step 20 stays"):
        train(plan, checkpoint_every=10)
    policy = load_policy(plan.request.output)
    assert policy.config.training.step == 20
    resumed = train(make_plan(ask(resume=True)))
    assert (resumed.step, resumed.resumed_from) == (40, 20)


def test_nan_before_any_checkpoint_leaves_no_policy(ask: Ask) -> None:
    plan = make_plan(ask())
    poisoned(plan, 3)
    with pytest.raises(CheckFailed, match=r"at step 4.*no checkpoint"):
        train(plan)
    assert not plan.request.output.exists()


def test_a_failure_while_saving_keeps_the_checkpoint_before(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(ask())
    real = state.save_state

    def full(now: Any, folder: Path) -> None:
        if now.step == 20:
            raise OSError(28, "No space left on device")
        real(now, folder)

    monkeypatch.setattr(loop, "save_state", full)
    with pytest.raises(Exception, match="disk is full"):
        train(plan, checkpoint_every=10)
    monkeypatch.undo()
    assert load_policy(plan.request.output).config.training.step == 10
    assert train(make_plan(ask(resume=True))).resumed_from == 10


def test_damaged_resume_state_is_refused(ask: Ask) -> None:
    plan = make_plan(ask())
    train(plan, progress=stop_at(10))
    file = plan.request.output / "training" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(PolicyError, match="damaged"):
        make_plan(ask(resume=True))


def test_learning_rate_warms_up_and_falls(ask: Ask) -> None:
    plan = make_plan(ask())
    plan.state.step = 100
    rates = [loop.learning_rate(plan, done) for done in (0.0, 0.3, 0.6, 1.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01 * plan.settings.learning_rate)
    plan.state.step = 0
    assert loop.learning_rate(plan, 0.0) == pytest.approx(rates[0] / 10)


def test_slow_steps_are_told_of_one_by_one(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(loop, "_TELL_S", 0.0)
    train(make_plan(ask(steps=3)), progress=lambda done, *rest: told.append(done))
    assert told == [1, 2, 3]


def test_progress_tells_loss_and_speed(ask: Ask) -> None:
    told: list[tuple[int, int, str]] = []
    train(make_plan(ask()), progress=lambda *x: told.append(x))
    tens = [x[:2] for x in told if x[0] % 10 == 0]  # and slow steps between them
    assert tens == [(10, 40), (20, 40), (30, 40), (40, 40)]
    assert all("loss" in x[2] and "steps/s" in x[2] for x in told)


def test_loss_is_a_running_mean(ask: Ask) -> None:
    plan = make_plan(ask(method="flow"))
    seen: list[float] = []
    flow = plan.method

    class Listening(type(flow)):  # type: ignore[misc]
        def losses(self, *rest: Any) -> Any:
            found = super().losses(*rest)
            seen.append(float(found["flow"].detach()))
            return found

    plan.method = Listening()
    result = train(plan)
    mean = seen[0]
    for value in seen[1:40]:  # the 41st is validation's
        mean = 0.98 * mean + 0.02 * value
    assert result.loss == pytest.approx(mean)
