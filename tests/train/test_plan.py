"""What is refused before the first step, and what starting from a policy takes from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ofp_edge.errors import OfpError, OutputExists, PolicyError, SpecMismatch, UnknownName
from ofp_edge.policy.folder import load_policy
from ofp_edge.start import Start
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from tests.synthetic import write_synthetic_dataset
from tests.train.test_loop import stop_at

Ask = Callable[..., Request]


@pytest.fixture
def stopped(ask: Ask) -> Path:
    train(make_plan(ask()), progress=stop_at(10))
    return ask().output


def test_the_methods_own_numbers_are_stored(ask: Ask) -> None:
    plan = make_plan(ask(options={"lambda_g": 0.05}))
    assert plan.policy.config.method_options["lambda_g"] == 0.05
    assert plan.policy.config.method_options["lambda_c"] == 1.0
    assert getattr(plan.method, "lambda_g") == 0.05  # noqa: B009
    with pytest.raises(PolicyError, match="unknown option 'lambda'"):
        make_plan(ask(options={"lambda": 1.0}))


def test_a_preset_has_numbers_of_its_own_that_options_go_before(ask: Ask, state_data: Path) -> None:
    def jump_every(**changes: Any) -> float:
        return make_plan(ask(dataset=state_data, **changes)).policy.config.method_options[
            "jump_every"
        ]

    assert jump_every() == 1 and jump_every(preset="small") == 3
    assert jump_every(preset="unet") == jump_every(preset="transformer") == 2
    assert jump_every(preset="unet", options={"jump_every": 3.0}) == 3
    assert (
        "jump_every"
        not in make_plan(
            ask(dataset=state_data, preset="unet", method="flow")
        ).policy.config.method_options
    )


@pytest.mark.parametrize(
    "method, t_w, start",
    [("ofp-plus", 0.3, Start(4, 1.0, 0.25)), ("ofp", 0.3, Start(4, 1.0, 0.25)),
     ("meanflow", 0.3, Start(4, 1.0, 0.25)), ("flow", 0.3, Start()), ("diffusion", 0.3, Start())],
)  # fmt: skip
def test_a_policy_that_jumps_samples_once_and_then_follows(
    ask: Ask, method: str, t_w: float, start: Start
) -> None:
    config = make_plan(ask(method=method)).policy.config
    assert (config.t_w, config.start) == (t_w, start)
    assert (config.warm_step(), config.warm_step("mean")) == ("jump", "mean")


def test_training_on_keeps_a_policy_s_own_start(ask: Ask, stopped: Path, tmp_path: Path) -> None:
    document = json.loads((stopped / "config.json").read_text())
    document["start"] = {"cold_nfe": 2, "noise_cold": 0.5, "noise_warm": 0.25}
    (stopped / "config.json").write_text(json.dumps(document))
    on = make_plan(ask(init=stopped, output=tmp_path / "on")).policy.config
    assert on.start == Start(2, 0.5, 0.25) and on.t_w == load_policy(stopped).config.t_w
    other = make_plan(ask(init=stopped, output=tmp_path / "flow", method="flow")).policy.config
    assert other.start == Start(None, 0.5, 0.25), "flow takes all its steps at every start"


def test_a_run_from_before_an_option_was_there_had_its_default(ask: Ask, stopped: Path) -> None:
    config = json.loads((stopped / "config.json").read_text())
    del config["method_options"]["jump_every"]
    (stopped / "config.json").write_text(json.dumps(config))
    assert make_plan(ask(resume=True)).resumed_from == 10
    with pytest.raises(PolicyError, match="jump_every 1, got 2"):
        make_plan(ask(resume=True, options={"jump_every": 2.0}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "ofp"}, "method ofp-plus, got ofp"),
        ({"preset": "small"}, "preset tiny, got small"),
        ({"steps": 80}, "steps 40, got 80"),
        ({"batch_size": 7}, "batch_size 32, got 7"),
        ({"seed": 5}, "seed 0, got 5"),
        ({"options": {"lambda_g": 0.5}}, "lambda_g 0.05, got 0.5"),
    ],
)
def test_resume_with_other_settings_names_the_difference(
    ask: Ask, stopped: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(PolicyError, match=words):
        make_plan(ask(resume=True, **changes))


def test_resume_with_the_same_settings_named_is_fine(ask: Ask, stopped: Path) -> None:
    plan = make_plan(ask(resume=True, method="ofp-plus", preset="tiny", steps=40, seed=0))
    assert plan.resumed_from == 10


def test_resume_with_other_data_names_both(ask: Ask, stopped: Path, tmp_path: Path) -> None:
    other = write_synthetic_dataset(tmp_path / "other.zarr", episodes=12, seed=3)
    with pytest.raises(PolicyError, match=r"trained on dataset points.zarr.*got .*other.zarr"):
        make_plan(ask(resume=True, dataset=other))


def test_resume_of_nothing(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="nothing to resume"):
        make_plan(ask(resume=True))


def test_existing_output_is_not_replaced_unasked(ask: Ask, stopped: Path) -> None:
    with pytest.raises(OutputExists):
        make_plan(ask())
    assert make_plan(ask(force=True)).state.step == 0


def test_force_does_not_replace_a_foreign_folder(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "thesis.txt").write_text("mine")
    with pytest.raises(OfpError, match=r"holds no config\.json"):
        make_plan(ask(force=True))


def test_unknown_names_list_what_exists(ask: Ask) -> None:
    with pytest.raises(UnknownName, match=r"Known: diffusion, flow, meanflow, ofp, ofp-plus"):
        make_plan(ask(method="ddpm"))
    with pytest.raises(UnknownName, match="Known: resnet18, rgb, small, tiny"):
        make_plan(ask(preset="huge"))


@pytest.mark.parametrize("name", ["steps", "batch_size", "learning_rate"])
def test_numbers_must_be_positive(ask: Ask, name: str) -> None:
    with pytest.raises(OfpError, match=f"{name}: expected a positive"):
        make_plan(ask(**{name: 0}))


def test_the_literal_method_sets_its_teachers_decay(ask: Ask) -> None:
    assert make_plan(ask(method="ofp")).settings.ema_decay == 0.999
    assert make_plan(ask()).settings.ema_decay == 0.98


def test_init_takes_weights_normalisation_and_times(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask()))
    other = write_synthetic_dataset(tmp_path / "other.zarr", episodes=4, seed=8)
    start = load_policy(ask().output)
    plan = make_plan(ask(init=ask().output, dataset=other, output=tmp_path / "on", steps=20))
    assert plan.policy.statistics == start.statistics
    assert plan.policy.config.preset == "tiny"
    assert plan.first_progress == 0.5
    assert torch.equal(plan.state.network.null, start.network.null)
    result = train(plan)
    saved = load_policy(tmp_path / "on")
    assert result.step == 20
    assert saved.config.training.init_sha256 is not None
    moved = (saved.network.null - start.network.null).detach().abs().max()
    assert 0 < float(moved) < 0.2


def test_init_can_be_resumed_too(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask()))
    names = tmp_path / "a", tmp_path / "b"
    train(make_plan(ask(init=ask().output, output=names[0], steps=30)))
    train(make_plan(ask(init=ask().output, output=names[1], steps=30)), progress=stop_at(10))
    train(make_plan(ask(output=names[1], resume=True)))
    first, second = (name / "model.safetensors" for name in names)
    assert first.read_bytes() == second.read_bytes()


def test_init_with_other_observations_is_refused(
    ask: Ask, state_data: Path, tmp_path: Path
) -> None:
    train(make_plan(ask(steps=1)))
    with pytest.raises(SpecMismatch, match="observation fields: expected state, points"):
        make_plan(ask(init=ask().output, dataset=state_data, output=tmp_path / "on"))


def test_init_with_another_preset_is_refused(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask(steps=1)))
    with pytest.raises(PolicyError, match="its preset is tiny"):
        make_plan(ask(init=ask().output, preset="small", output=tmp_path / "on"))


def test_init_from_noise_to_velocity_is_refused(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask(steps=1)))
    says = "to predict a velocity, of method ofp-plus, got diffusion, which predicts the chunk"
    with pytest.raises(PolicyError, match=says):
        make_plan(ask(init=ask().output, method="diffusion", output=tmp_path / "on"))


def test_what_learned_to_predict_the_noise_goes_on_so(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask(steps=1, method="diffusion", options={"predicts_data": 0})))
    on = make_plan(ask(init=ask().output, steps=1, output=tmp_path / "on"))
    assert on.policy.config.method_options["predicts_data"] == 0
    assert make_plan(ask(resume=True)).policy.config.method_options["predicts_data"] == 0
    says = "to predict the noise, of method diffusion, got diffusion, which predicts the chunk"
    with pytest.raises(PolicyError, match=says):
        make_plan(ask(init=ask().output, options={"predicts_data": 1}, output=tmp_path / "x"))
    fresh = make_plan(ask(steps=1, method="diffusion", output=tmp_path / "new"))
    assert fresh.policy.config.method_options["predicts_data"] == 1


def test_init_and_resume_exclude_each_other(ask: Ask) -> None:
    with pytest.raises(OfpError, match="exclude"):
        make_plan(ask(init=ask().output, resume=True))
