"""LeRobot's ACT: what LeRobot itself answered against the import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.lerobot import import_lerobot
from ofp_edge.imports.record import write_imported
from ofp_edge.policy.folder import load_policy
from tests.imports.act_fixtures import (
    FIXTURES,
    RATE,
    answers,
    checkpoint,
    chunks,
    seen,
    wanted,
)

NAMES = sorted(x.name.removeprefix("act_") for x in FIXTURES.glob("act_*"))
CLOSE = 1e-5
SLOW = ("dilated", "resnet34")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return checkpoint("small", tmp_path)


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def with_settings(folder: Path, **settings: Any) -> Path:
    edit(folder / "config.json", lambda value: value.update(settings))
    return folder


def worst(folder: Path, name: str) -> float:
    """The largest difference of a normalised and of a raw chunk from LeRobot's."""
    policy = import_lerobot(folder, wanted(name, folder)).policy
    expected, found = answers(folder), chunks(policy, folder)
    pairs = zip(("chunk_normalised", "chunk"), found, strict=True)
    return max(float((expected[key] - x).abs().max()) for key, x in pairs)


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=[pytest.mark.slow] if x in SLOW else []) for x in NAMES]
)
def test_its_chunks_are_lerobots(tmp_path: Path, name: str) -> None:
    assert worst(checkpoint(name, tmp_path), name) < CLOSE


LAYER = "model.encoder.layers.0."
CROSS = "model.decoder.layers.0.multihead_attn."
CHANGES = {
    "two norms of a layer exchanged": (f"{LAYER}norm1.weight", f"{LAYER}norm2.weight"),
    "two biases of norms": (f"{LAYER}norm1.bias", f"{LAYER}norm2.bias"),
    "two layers": (f"{LAYER}linear1.weight", "model.encoder.layers.1.linear1.weight"),
    "self and cross attention": (
        f"{CROSS}in_proj_weight", "model.decoder.layers.0.self_attn.in_proj_weight",
    ),
    "their outputs": (f"{CROSS}out_proj.bias", "model.decoder.layers.0.self_attn.out_proj.bias"),
    "encoder and decoder": (f"{LAYER}linear2.bias", "model.decoder.layers.0.linear2.bias"),
    "second and third norm": (
        "model.decoder.layers.0.norm2.bias", "model.decoder.layers.0.norm3.bias",
    ),
    "the last norm": ("model.decoder.norm.bias", "model.decoder.layers.0.norm3.bias"),
    "latent and state": (
        "model.encoder_latent_input_proj.bias", "model.encoder_robot_state_input_proj.bias",
    ),
    "state and environment": (
        "model.encoder_env_state_input_proj.bias", "model.encoder_robot_state_input_proj.bias",
    ),
    "the order of a table of positions": "model.encoder_1d_feature_pos_embed.weight",
    "the order of the queries": "model.decoder_pos_embed.weight",
    "queries and keys of one matrix": f"{CROSS}in_proj_weight",
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_tensor_in_anothers_place_shows(small: Path, what: str) -> None:
    path, change = small / "model.safetensors", CHANGES[what]
    tensors = load_file(path)
    if isinstance(change, tuple):
        one, other = change
        tensors[one], tensors[other] = tensors[other], tensors[one]
    else:
        tensors[change] = tensors[change].roll(tensors[change].shape[1], 0)
        tensors[change] = tensors[change].flip(0).contiguous()
    save_file(tensors, path)
    assert worst(small, "small") > 100 * CLOSE


def test_what_is_not_read_changes_nothing_and_is_said(small: Path) -> None:
    path = small / "model.safetensors"
    tensors = load_file(path)
    unread = [x for x in tensors if x.startswith("model.vae_encoder")]
    unread.append("model.encoder_latent_input_proj.weight")
    save_file({name: x + 1 if name in unread else x for name, x in tensors.items()}, path)
    assert worst(small, "small") < CLOSE
    found = import_lerobot(small, RATE)
    assert sum(x.count for x in found.unread) == len(unread)
    assert found.about["tensors"] == len(tensors)


def test_an_imported_policy_comes_back_from_its_folder(small: Path, tmp_path: Path) -> None:
    found = import_lerobot(small, RATE)
    write_imported(found, tmp_path / "policy", force=False)
    back = load_policy(tmp_path / "policy")
    assert back.config == found.policy.config and back.config.method == "deterministic"
    for ours, theirs in zip(chunks(back, small), chunks(found.policy, small), strict=True):
        assert torch.equal(ours, theirs)


def test_twelve_steps_send_what_select_action_sends(small: Path, tmp_path: Path) -> None:
    found = import_lerobot(small, RATE)
    write_imported(found, tmp_path / "policy", force=False)
    expected = answers(small)["sent"]
    inference = open_contestant(tmp_path / "policy", Choice()).inference
    spec = inference.spec
    frames, plan = seen(found.policy, small, len(expected)), None
    for step, action in enumerate(expected.numpy()):
        named = zip(spec.observations, frames, strict=True)
        inference.observe(step * spec.dt_ns, {f.name: x[step, 0].numpy() for f, x in named})
        if step % spec.n_action_steps == 0:
            plan = inference.infer(step * spec.dt_ns, plan)
        assert plan is not None
        assert np.abs(plan.at(step * spec.dt_ns) - action).max() < CLOSE


def test_older_versions_normalise_by_buffers_among_the_weights(small: Path) -> None:
    tensors = load_file(small / "model.safetensors")
    for path in small.glob("policy_p*.safetensors"):
        prefixes = ["normalize_inputs"]
        if "_post" in path.name:
            prefixes = ["unnormalize_outputs", "normalize_targets"]
        for key, value in load_file(path).items():
            feature, _, name = key.rpartition(".")
            for prefix in prefixes:
                known = feature == "action" or prefix == "normalize_inputs"
                if known and name in ("mean", "std"):
                    tensors[f"{prefix}.buffer_{feature.replace('.', '_')}.{name}"] = value.clone()
    for path in small.glob("policy_p*"):
        path.unlink()
    save_file(tensors, small / "model.safetensors")
    assert worst(small, "small") < CLOSE


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"feedforward_activation": "glu"}, "feedforward_activation 'glu': expected one of relu, ge"),
     ({"n_obs_steps": 2}, "n_obs_steps 2 can't be imported, only 1 can"),
     ({"n_heads": 3}, "width: expected a multiple of 4 and of 3 heads, got 16"),
     ({"dim_model": 32}, r"expected shape \(32, 6\), got \(16, 6\)"),
     ({"n_encoder_layers": 3}, "'trunk.encoder.2.*is missing"),
     ({"n_decoder_layers": 7}, "'trunk.decoder.1.*is missing"),
     ({"pre_norm": True}, "'trunk.encoder_norm.*is missing"),
     ({"use_vae": False}, "'model.vae_encoder.*is unknown"),
     ({"chunk_size": 11}, r"'trunk.queries': expected shape \(11, 16\), got \(10, 16\)"),
     ({"use_peft": True}, "use_peft True can't be imported"),
     ({"rope": 1}, "the setting 'rope' is not understood"),
     ({"temporal_ensemble_coeff": "x"}, "temporal_ensemble_coeff: expected a number")],
    ids=str,
)  # fmt: skip
def test_a_setting_that_is_not_the_weights_is_one_line(
    small: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(PolicyError, match=says):
        import_lerobot(with_settings(small, **settings), RATE)


def test_no_setting_of_the_network_is_taken_from_a_default(small: Path) -> None:
    config = json.loads((small / "config.json").read_text())
    for key in (
        "type", "input_features", "output_features", "chunk_size", "n_action_steps", "pre_norm",
        "dim_model", "n_heads", "dim_feedforward", "feedforward_activation", "n_encoder_layers",
        "n_decoder_layers", "use_vae", "latent_dim", "temporal_ensemble_coeff",
    ):  # fmt: skip
        rest = {name: x for name, x in config.items() if name != key}
        (small / "config.json").write_text(json.dumps(rest))
        with pytest.raises(PolicyError, match=f"'{key}' is missing"):
            import_lerobot(small, RATE)


@pytest.mark.parametrize("change", ["more", "fewer", "ours"])
def test_a_tensor_too_many_or_too_few_is_named(small: Path, change: str) -> None:
    path = small / "model.safetensors"
    tensors = load_file(path)
    if change == "more":
        tensors["model.decoder.layers.1.norm1.bias"] = torch.zeros(16)
    elif change == "ours":  # a name of our own stands for nothing in a foreign file
        tensors["trunk.latent"] = torch.zeros(16)
    else:
        del tensors["model.encoder.layers.0.linear1.weight"]
    save_file(tensors, path)
    with pytest.raises(PolicyError, match="is missing" if change == "fewer" else "is unknown"):
        import_lerobot(small, RATE)


def test_a_camera_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = checkpoint("cameras", tmp_path, weights=False)
    given = wanted("cameras", folder)
    value = json.loads(given.spec.read_text())  # type: ignore[union-attr]
    fields = value["spec"]["observations"]
    value["spec"]["observations"] = [x for x in fields if x["name"] != "wrist"]
    given.spec.write_text(json.dumps(value))  # type: ignore[union-attr]
    with pytest.raises(SpecMismatch, match=r"fields for observation\.images\.wrist.*none left"):
        import_lerobot(folder, given)


@pytest.mark.parametrize(("name", "kind"), [("velocity", "STATE"), ("goal", "ENV")])
def test_a_vector_that_lerobots_network_does_not_see_is_named(
    small: Path, name: str, kind: str
) -> None:
    key = f"observation.{name}"
    entry = {"type": kind, "shape": [3]}
    edit(small / "config.json", lambda value: value["input_features"].update({key: entry}))
    path = small / "policy_preprocessor.json"
    edit(path, lambda value: value["steps"][-1]["config"]["features"].update({key: entry}))
    (numbers,) = small.glob("policy_pre*.safetensors")
    known = load_file(numbers)
    save_file({**known, f"{key}.mean": torch.zeros(3), f"{key}.std": torch.ones(3)}, numbers)
    with pytest.raises(PolicyError, match=f"'{key}' of type {kind} has no place in an act"):
        import_lerobot(small, RATE)


def test_ensembling_is_not_passed_over(tmp_path: Path) -> None:
    found = import_lerobot(checkpoint("pre_norm", tmp_path), RATE)
    assert "temporal_ensemble_coeff 0.01: chunks are not averaged" in found.remarks[0]


def test_a_chunk_that_leaves_no_time_is_said_and_can_be_shortened(small: Path) -> None:
    with_settings(small, n_action_steps=10)
    found = import_lerobot(small, RATE)
    assert "a robot has no time" in found.remarks[0]
    found = import_lerobot(small, Wanted(control_hz=30.0, n_action_steps=6))
    assert found.policy.config.spec.n_action_steps == 6 and not found.remarks
    with pytest.raises(SpecMismatch, match="n_action_steps"):
        import_lerobot(small, Wanted(control_hz=30.0, n_action_steps=11))
