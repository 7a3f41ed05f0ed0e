"""A VLA's checkpoint that is damaged, foreign or set otherwise: one line each, nothing ignored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from ofp_edge.errors import OfpError, PolicyError, SpecMismatch
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.imports.record import write_imported
from ofp_edge.imports.vla.shards import INDEX, read_checkpoint_tensors
from ofp_edge.imports.vla.tokenizer import open_tokenizer, stated_prompt
from ofp_edge.policy.folder import load_policy
from ofp_edge.prompt import StateBins
from tests.imports.vla_checkpoint import TASKS, checkpoint, imported

pytest.importorskip("tokenizers", reason="the prompt's table is made with it: extra vla")

Change = Callable[[Path], Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("whole")
    return {kind: checkpoint(kind, place / kind) for kind in ("smolvla", "pi05")}


def changed(whole: dict[str, Path], kind: str, place: Path, change: Change) -> Path:
    folder = Path(shutil.copytree(whole[kind], place / "pretrained_model"))
    change(folder)
    return folder


def in_json(name: str, change: Callable[[Any], Any]) -> Change:
    def edit(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return edit


def settings(**values: Any) -> Change:
    return in_json("config.json", lambda x: x.update(values))


def step(name: str, **values: Any) -> Change:
    def edit(value: Any) -> None:
        found = next(x for x in value["steps"] if x["registry_name"] == name)
        found["config"].update(values)

    return in_json("policy_preprocessor.json", edit)


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def edit(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors")

    return edit


WORDS = "model.vlm_with_expert.vlm.model.text_model.embed_tokens.weight"
CASES: list[tuple[str, Change, str]] = [
    ("smolvla", settings(brightness=2), "the setting 'brightness' is not understood"),
    ("smolvla", settings(adapt_to_pi_aloha=True), "adapt_to_pi_aloha True can't be imported"),
    ("smolvla", settings(use_cache=False), "use_cache False"),
    ("smolvla", settings(add_image_special_tokens=True), "add_image_special_tokens True"),
    ("smolvla", settings(attention_mode="both"), "attention_mode 'both'"),
    ("smolvla", settings(num_vlm_layers=4), "num_vlm_layers 4: the file has 3"),
    ("smolvla", settings(num_expert_layers=1), "num_expert_layers 1"),
    ("smolvla", settings(resize_imgs_with_padding=[32, 24]), "expected a square"),
    ("smolvla", settings(n_obs_steps=2), "n_obs_steps 2"),
    ("smolvla", settings(rtc_config={"enabled": True}), "rtc_config"),
    ("smolvla", settings(expert_width_multiplier=0.5), "expected shape"),
    ("smolvla", settings(max_action_dim=3), "'model.action_in_proj.weight': expected shape"),
    ("smolvla", in_json("vlm_config.json", lambda x: x["text_config"].update(vocab_size=500)),
     f"tensor '{WORDS}': expected shape (500, 48), got (384, 48)"),
    ("smolvla", in_json("vlm_config.json", lambda x: x["text_config"].update(hidden_act="relu")),
     "hidden_act 'relu'"),
    ("smolvla", tensors(lambda x: x.pop(WORDS) + x.pop(WORDS.replace(
        "model.text_model.embed_tokens", "lm_head"))), "lm_head.weight' is missing"),
    ("smolvla", tensors(lambda x: x.update(more=torch.zeros(1))), "tensor 'more' is unknown"),
    ("smolvla", tensors(lambda x: x.pop("model.state_proj.bias")), "'model.state_proj.bias' is m"),
    ("smolvla", tensors(lambda x: x.update({"model.state_proj.bias": torch.zeros(3)})),
     "tensor 'model.state_proj.bias': expected shape (48,), got (3,)"),
    ("smolvla", tensors(lambda x: x["model.state_proj.bias"].fill_(float("nan"))), "holds NaN"),
    ("smolvla", step("tokenizer_processor", padding_side="left"), "padding_side 'left'"),
    ("smolvla", step("tokenizer_processor", truncation=False), "truncation False"),
    ("smolvla", step("tokenizer_processor", lower=True), "the setting 'lower' is not understood"),
    ("smolvla", in_json("policy_preprocessor.json", lambda x: x["steps"].append(
        {"registry_name": "crop_processor", "config": {}})), "step 'crop_processor' can't"),
    ("smolvla", in_json("policy_preprocessor.json", lambda x: x["steps"].reverse()),
     "expected step smolvla_new_line_processor before tokenizer_processor"),
    ("pi05", settings(paligemma_variant="gemma_9b"), "paligemma_variant: expected one of"),
    ("pi05", settings(image_resolution=[30, 30]), "image_resolution: expected (24, 24)"),
    ("pi05", settings(use_memory=True), "the setting 'use_memory' is not understood"),
    ("pi05", step("pi05_prepare_state_tokenizer_processor_step", max_state_dim=7),
     "max_state_dim 7"),
    ("pi05", step("relative_actions_processor", enabled=False), "the other way round"),
    ("pi05", tensors(lambda x: x.pop(
        "model.paligemma_with_expert.gemma_expert.model.layers.1.input_layernorm.dense.bias")),
     "layers.1.input_layernorm.dense.bias' is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "says"), CASES)
def test_what_is_not_understood_is_one_line(
    whole: dict[str, Path], tmp_path: Path, kind: str, change: Change, says: str
) -> None:
    folder = changed(whole, kind, tmp_path, change)
    with pytest.raises(OfpError) as caught:
        imported(folder)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_user_is_asked_for_what_only_he_has(whole: dict[str, Path], tmp_path: Path) -> None:
    for told, says in (
        ({"tokenizer": None}, "give --tokenizer"), ({"instructions": ()}, "Give --instruction"),
        ({"vlm": None}, "'stand-in/vlm' are not known here"),
        ({"tokenizer": whole["pi05"] / "config.json"}, "is no tokenizer"),
        ({"tokenizer": tmp_path}, "expected one of tokenizer.json"),
    ):  # fmt: skip
        with pytest.raises(PolicyError, match=says):
            imported(whole["smolvla"], **told)  # type: ignore[arg-type]


def test_the_command_makes_a_policy_folder(whole: dict[str, Path], tmp_path: Path) -> None:
    folder, out = whole["smolvla"], tmp_path / "policy"
    said = CliRunner().invoke(build_app(), [
        "import", "--lerobot", str(folder), "--spec", str(folder / "spec.json"),
        "--tokenizer", str(folder), "--vlm", str(folder / "vlm_config.json"),
        "--instruction", "open the drawer", "--instruction", "close it", "-o", str(out), "--json",
    ])  # fmt: skip
    assert said.exit_code == 0, said.output
    document = json.loads(said.stdout)
    assert (document["form"], document["nfe"]) == ("lerobot smolvla", 10)
    assert document["checked"]["instructions"] == ["open the drawer", "close it"]
    assert json.loads((out / "prompt.json").read_text())["length"] == 24
    said = CliRunner().invoke(build_app(), ["inspect", str(out), "--json"])
    assert json.loads(said.stdout)["provenance"]["trunk"] == "smolvla"
    contestant = open_contestant(out, Choice())
    assert (contestant.nfe, contestant.more_nfe) == (10, None)
    contestant.close()
    assert load_policy(out).widened(str(out)).config.network.keeps_encoder
    other = ["import", "--onnx", "x", "--spec", "y", "--instruction", "z", "-o", str(out) + "2"]
    assert "leave --tokenizer" in CliRunner().invoke(build_app(), [*other, "--json"]).stdout


def test_a_camera_that_no_name_binds_is_refused(whole: dict[str, Path], tmp_path: Path) -> None:
    def rename(value: Any) -> None:
        for field, name in zip(value["spec"]["observations"], ("left", "right"), strict=False):
            field["name"] = field["frame"] = field["camera"] = name
        camera = value["cameras"]["front"]
        value["cameras"] = {"left": camera, "right": camera}

    folder = changed(whole, "smolvla", tmp_path, in_json("spec.json", rename))
    with pytest.raises(SpecMismatch, match="cameras of the checkpoint"):
        imported(folder)
    renamed = {f"observation.images.{a}": f"observation.images.{b}"
               for a, b in (("left", "wrist"), ("right", "front"))}  # fmt: skip
    step("rename_observations_processor", rename_map=renamed)(folder)
    spec = imported(folder).policy.config.spec
    assert [x.name for x in spec.observations[:2]] == ["right", "left"]  # the checkpoint's order


def test_only_a_camera_that_training_masked_may_be_missing(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    found = imported(whole["pi05"])
    assert found.about["cameras_missing"] == ["observation.images.empty_camera_0"]
    assert "camera observation.images.empty_camera_0 of the checkpoint is left" in found.remarks[0]

    def fewer(value: Any) -> None:
        value["spec"]["observations"].pop(0)

    folder = changed(whole, "pi05", tmp_path, in_json("spec.json", fewer))
    with pytest.raises(
        SpecMismatch, match=r"observation\.images\.wrist', which it was trained"
    ) as e:
        imported(folder)
    assert "\n" not in str(e.value)


def test_absolute_actions_are_the_networks_own(whole: dict[str, Path], tmp_path: Path) -> None:
    def off(value: Any) -> None:
        for entry in value["steps"]:
            if entry["registry_name"] in (
                "relative_actions_processor",
                "absolute_actions_processor",
            ):
                entry["config"]["enabled"] = False

    folder = changed(whole, "pi05", tmp_path, in_json("policy_preprocessor.json", off))
    in_json("policy_postprocessor.json", off)(folder)
    write_imported(imported(folder), tmp_path / "policy", force=False)
    assert load_policy(tmp_path / "policy").config.network.actions_relative == ()  # type: ignore[attr-defined]
    found = imported(whole["pi05"]).policy.config.network
    assert found.actions_relative == (True, True, False, True)  # type: ignore[attr-defined]


def sharded(folder: Path) -> None:
    found = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(found)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, share in parts.items():
        save_file({name: found[name] for name in share}, folder / file)
    places = {name: file for file, share in parts.items() for name in share}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_shards_are_the_same_tensors(whole: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(whole, "smolvla", tmp_path, sharded)
    one, _ = read_checkpoint_tensors(whole["smolvla"])
    many, _ = read_checkpoint_tensors(folder)
    assert set(one) == set(many) and all(torch.equal(one[x], many[x]) for x in one)


@pytest.mark.parametrize(
    ("damage", "says"),
    [(lambda x: (x / "model-2.safetensors").unlink(), "model-2.safetensors does not exist"),
     (lambda x: (x / "model-1.safetensors").write_bytes(b"x" * 99), "is damaged"),
     (in_json(INDEX, lambda x: x["weight_map"].update(more="model-1.safetensors")), "lacks tens"),
     (in_json(INDEX, lambda x: x["weight_map"].popitem()), "has, unlisted, tensor"),
     (in_json(INDEX, lambda x: x["weight_map"].update(a="../b")), "expected plain file names"),
     (lambda x: (x / INDEX).unlink(), "model.safetensors does not exist")],
)  # fmt: skip
def test_a_missing_or_damaged_shard_is_one_line(
    whole: dict[str, Path], tmp_path: Path, damage: Change, says: str
) -> None:
    folder = changed(whole, "smolvla", tmp_path, sharded)
    damage(folder)
    with pytest.raises(PolicyError, match=says):
        read_checkpoint_tensors(folder)


def test_a_tokenizer_that_no_table_can_stand_for_is_refused(whole: dict[str, Path]) -> None:
    state = StateBins(("state",), "identity", (0.0,) * 3, (1.0,) * 3)
    tokenize = open_tokenizer(whole["pi05"] / "tokenizer.json")
    stated_prompt(TASKS, tokenize, 48, state, "tokenizer.json")

    def joining(text: str) -> list[int]:
        return tokenize(text.replace("1 1", "1_1"))

    with pytest.raises(PolicyError, match="it makes other ids of"):
        stated_prompt(TASKS, joining, 48, state, "tokenizer.json")


def test_a_tokenizer_of_another_vocabulary_is_refused(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    def grow(value: Any) -> None:
        kept = value["model"]["vocab"]
        value["model"]["vocab"] = {x: n + 300 if n > 9 else n for x, n in kept.items()}

    folder = changed(whole, "smolvla", tmp_path, in_json("tokenizer.json", grow))
    with pytest.raises(PolicyError, match="the tokenizer of another vocabulary"):
        imported(folder)
