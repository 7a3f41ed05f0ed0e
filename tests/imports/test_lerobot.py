"""LeRobot's DiffusionPolicy: what LeRobot itself answered against the import."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.lerobot import import_lerobot
from ofp_edge.imports.record import field_statistics, write_imported
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.policy.imported.images import CameraConfig
from ofp_edge.policy.imported.schedule import rungs, scheduler, stepped
from ofp_edge.spec import PolicySpec
from tests.interop.drawn import drawn

# Written by tests/interop/write_policies.py; `make test-interop` gives new ones.
OWN = Path(__file__).parent / "fixtures"
FIXTURES = Path(os.environ.get("OFP_INTEROP_FIXTURES", OWN))
STATE = FIXTURES / "lerobot_state"
KEYS = ("observation.state", "observation.environment_state")
RATE = Wanted(control_hz=10.0)
SEED = 7


@pytest.fixture(scope="module")
def policy() -> Policy:
    return import_lerobot(STATE, RATE).policy


@pytest.fixture(scope="module")
def answers() -> dict[str, Tensor]:
    return load_file(FIXTURES / "lerobot_state_ddpm.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STATE, tmp_path / "pretrained_model"))


def test_the_spec_says_where_the_chunk_begins(policy: Policy) -> None:
    spec = policy.config.spec
    assert (spec.n_obs_steps, spec.horizon, spec.n_action_steps) == (2, 8, 4)
    assert (spec.start_index, spec.plan_steps) == (1, 7)
    assert [f.name for f in spec.observations] == ["state", "environment_state"]


def test_normalised_values_are_lerobots_to_the_bit(policy: Policy, answers: Any) -> None:
    network = policy.network
    for normalize, key in zip(network.encoder.normalize, KEYS, strict=True):
        assert torch.equal(normalize(answers[f"seen/{key}"][:2]), answers[f"normalised/{key}"])
    raw = network.denormalize_actions(answers["sample"].flatten(1))
    assert torch.equal(raw, answers["raw"])


def test_the_forward_pass_is_lerobots(policy: Policy, answers: Any) -> None:
    network, k = policy.network, torch.tensor([0, 37, 99])
    with torch.no_grad():
        condition = network.encode([answers[f"seen/{key}"][:2][None] for key in KEYS])
        t = 1 - (k + 1) / 100
        got = network(answers["z"].flatten(1), t, t, condition.repeat(3, 1))
    assert torch.equal(condition, answers["condition"])
    assert (got - answers["forward"].flatten(1)).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
@pytest.mark.parametrize("predicts", ["epsilon", "sample"])
def test_a_rung_is_one_step_of_diffusers(policy: Policy, kind: str, predicts: str) -> None:
    config = replace(policy.config.network.schedule, scheduler=kind, predicts=predicts)
    made = scheduler(config)
    made.set_timesteps(20)
    generator = torch.Generator().manual_seed(0)
    z, out = (torch.randn(1, 24, generator=generator) for _ in range(2))
    for rung in rungs(config, 20):
        state = generator.get_state()
        expected = made.step(out, rung.k, z, generator=generator).prev_sample
        generator.set_state(state)
        got = stepped(z, out, rung.constants, config.clip)
        if rung.sigma:
            got = got + rung.sigma * torch.randn(1, 24, generator=generator)
        assert torch.allclose(got, expected, atol=1e-5), rung.k


def with_settings(folder: Path, **settings: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
def test_fifty_steps_send_what_select_action_sends(folder: Path, tmp_path: Path, kind: str) -> None:
    answers = load_file(FIXTURES / f"lerobot_state_{kind}.safetensors")
    if kind == "ddim":
        with_settings(folder, noise_scheduler_type="DDIM", num_inference_steps=10)
    write_imported(import_lerobot(folder, RATE), tmp_path / "policy", force=False)
    inference = open_contestant(tmp_path / "policy", Choice()).inference
    spec = inference.spec
    inference.reseed(SEED)
    sent, plan = [], None
    for step in range(50):
        seen = {key.rpartition(".")[2]: answers[f"seen/{key}"][step].numpy() for key in KEYS}
        inference.observe(step * spec.dt_ns, seen)
        if step % spec.n_action_steps == 0:
            plan = inference.infer(step * spec.dt_ns)
        sent.append(plan.at(step * spec.dt_ns))
    assert np.abs(np.stack(sent) - answers["sent"].numpy()).max() < 1e-4


def test_a_whole_sample_is_lerobots(policy: Policy, answers: Any) -> None:
    stream = np.random.Generator(np.random.PCG64(SEED))
    network, z = policy.network, answers["z"][:1].flatten(1)
    for rung in rungs(policy.config.network.schedule, 100):
        t = torch.tensor([1 - (rung.k + 1) / 100])
        with torch.no_grad():
            out = network(z, t, t, answers["condition"])
        z = stepped(z, out, rung.constants, 1.0)
        if rung.sigma:
            z = z + rung.sigma * torch.from_numpy(stream.standard_normal((1, 24), np.float32))
    assert (z - answers["sample"].flatten(1)).abs().max() < 1e-4


def test_an_imported_policy_comes_back_from_its_folder(policy: Policy, tmp_path: Path) -> None:
    write_imported(import_lerobot(STATE, RATE), tmp_path / "policy", force=False)
    back = load_policy(tmp_path / "policy")
    assert back.config == policy.config
    for name, tensor in policy.network.state_dict().items():
        assert torch.equal(back.network.state_dict()[name], tensor), name


def test_legacy_normalisation_is_read_from_the_weights(folder: Path, answers: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    for path in folder.glob("policy_p*.safetensors"):
        prefix = "normalize_inputs" if "_pre" in path.name else "unnormalize_outputs"
        for key, value in load_file(path).items():
            feature, _, name = key.rpartition(".")
            tensors[f"{prefix}.buffer_{feature.replace('.', '_')}.{name}"] = value
        path.unlink()
    for path in folder.glob("policy_p*.json"):
        path.unlink()
    save_file(tensors, folder / "model.safetensors")
    network = import_lerobot(folder, RATE).policy.network
    for normalize, key in zip(network.encoder.normalize, KEYS, strict=True):
        got = normalize(answers[f"seen/{key}"][:2])
        assert torch.allclose(got, answers[f"normalised/{key}"], atol=1e-6)


def test_compiled_names_are_read(folder: Path, policy: Policy) -> None:
    path = folder / "model.safetensors"
    renamed = {
        name.replace("diffusion.unet.", "diffusion.unet._orig_mod."): x
        for name, x in load_file(path).items()
    }
    save_file(renamed, path)
    state = import_lerobot(folder, RATE).policy.network.state_dict()
    assert all(torch.equal(state[name], x) for name, x in policy.network.state_dict().items())


@pytest.mark.parametrize("name", sorted(x.name for x in FIXTURES.glob("lerobot_images*")))
def test_images_are_seen_as_lerobot_sees_them(tmp_path: Path, name: str) -> None:
    """Two cameras, resized and cropped; 45 MB of weights are drawn from their names."""
    folder = Path(shutil.copytree(FIXTURES / name, tmp_path / "pretrained_model"))
    about = json.loads((folder / "shapes.json").read_text())
    if not (folder / "model.safetensors").exists():
        write_weights(folder, about)
    spec = spec_of_images()
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    policy = import_lerobot(folder, Wanted(spec=tmp_path / "spec.json")).policy
    answers = load_file(folder / "answers.safetensors")
    frames = [seen_by_cameras(step, about["seed"]) for step in range(2)]
    fields = [torch.stack([frame[i] for frame in frames])[None] for i in range(3)]
    k = torch.tensor([0, 37, 99])
    with torch.no_grad():
        condition = policy.network.encode(fields)
        t = 1 - (k + 1) / 100
        got = policy.network(answers["z"].flatten(1), t, t, answers["condition"].repeat(3, 1))
    assert (condition - answers["condition"]).abs().max() < 1e-5
    assert (got - answers["forward"].flatten(1)).abs().max() < 1e-5


def write_weights(folder: Path, about: dict[str, Any]) -> None:
    """model.safetensors, drawn from the tensors' names."""
    weights = {
        n: torch.zeros(s) if n.endswith("pos_grid") else drawn(n, tuple(s), about["seed"])
        for n, s in about["shapes"].items()
    }  # the grid is there, and not read
    for name in [n for n in weights if n.endswith("running_mean")]:
        weights[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    save_file(weights, folder / "model.safetensors")


def seen_by_cameras(step: int, seed: int) -> list[Tensor]:
    """As tests/interop/write_policies.py draws an observation: state, front, wrist."""
    rng = np.random.default_rng([seed, step])
    seen = [torch.from_numpy(rng.uniform(-1, 1, 4).astype(np.float32))]
    for _ in range(2):
        whole = rng.integers(0, 256, (3, 48, 64))
        seen.append(torch.from_numpy((whole * np.float32(1 / 255)).astype(np.float32)))
    return seen


def spec_of_images() -> dict[str, Any]:
    """What a user writes for a checkpoint with two cameras."""
    from tests.synthetic import CAMERA

    low, high = [-5.0] * 4, [5.0] * 4
    fields = [{"name": "state", "kind": "state", "shape": [4], "unit": "m", "frame": "base",
               "low": low, "high": high}]  # fmt: skip
    for name in ("front", "wrist"):
        fields.append({"name": name, "kind": "rgb", "shape": [3, 48, 64], "unit": "1",
                       "frame": name, "low": [0] * 3, "high": [1] * 3, "camera": name})  # fmt: skip
    action = {"name": "move", "shape": [3], "unit": "m", "frame": "base", "kind": "absolute",
              "scale": 1.0, "low": [-5.0] * 3, "high": [5.0] * 3}  # fmt: skip
    spec = {"observations": fields, "actions": [action], "n_obs_steps": 2, "horizon": 8,
            "n_action_steps": 4, "control_hz": 10.0, "start_index": 1}  # fmt: skip
    camera = CAMERA.to_json()
    return {"spec": spec, "cameras": {"front": camera, "wrist": camera}}


def test_batch_normalisation_keeps_its_statistics_in_training(policy: Policy) -> None:
    spec = PolicySpec.from_json(spec_of_images()["spec"])
    names = [f.name for f in (*spec.observations, *spec.actions)]
    config = replace(
        policy.config.network, cameras=CameraConfig("resnet18", False, 4, None, None, True),
        normalization=dict.fromkeys(names, "identity"), average=True,
    )  # fmt: skip
    network = config.build(spec, field_statistics(spec)).train()
    norms = [x for x in network.modules() if isinstance(x, nn.BatchNorm2d)]
    assert norms and not any(x.training for x in norms) and network.trunk.training


def test_a_field_that_the_checkpoint_does_not_see_is_named(policy: Policy, tmp_path: Path) -> None:
    spec = policy.config.spec.to_json()
    spec["observations"].append({**spec["observations"][0], "name": "more"})
    (tmp_path / "spec.json").write_text(json.dumps({"spec": spec}))
    with pytest.raises(SpecMismatch, match="more"):
        import_lerobot(STATE, Wanted(spec=tmp_path / "spec.json"))


def test_an_unknown_backbone_is_named(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "lerobot_images", tmp_path / "m"))
    save_file({}, folder / "model.safetensors")
    with_settings(folder, vision_backbone="vit_b_16")
    (tmp_path / "spec.json").write_text(json.dumps(spec_of_images()))
    with pytest.raises(PolicyError, match="vit_b_16"):
        import_lerobot(folder, Wanted(spec=tmp_path / "spec.json"))


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("kind", ["pi0", "pi0_fast", "multi_task_dit", "tdmpc"])
def test_other_policies_are_refused_by_name(folder: Path, kind: str) -> None:
    with pytest.raises(PolicyError, match=kind):
        import_lerobot(with_settings(folder, type=kind), RATE)


def test_a_class_in_a_processor_is_refused(folder: Path) -> None:
    def change(value: Any) -> None:
        value["steps"][0] = {"class": "os.system", "config": {}}

    edit(folder / "policy_preprocessor.json", change)
    with pytest.raises(PolicyError, match=r"os\.system.*refused"):
        import_lerobot(folder, RATE)


def test_what_is_missing_is_named(folder: Path) -> None:
    edit(folder / "config.json", lambda value: value.pop("kernel_size"))
    with pytest.raises(PolicyError, match="kernel_size"):
        import_lerobot(folder, RATE)


def test_missing_statistics_are_named(folder: Path) -> None:
    (path,) = folder.glob("policy_pre*.safetensors")
    kept = {k: x for k, x in load_file(path).items() if not k.endswith("state.min")}
    save_file(kept, path)
    with pytest.raises(PolicyError, match=r"statistics of 'observation\.\w*state'.*MIN_MAX"):
        import_lerobot(folder, RATE)
    path.unlink()
    with pytest.raises(PolicyError, match="statistics of its normaliser are missing"):
        import_lerobot(folder, RATE)


def test_a_huge_file_where_a_small_one_is_expected(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(4 << 30)  # sparse: takes no space
    with pytest.raises(PolicyError, match="4.3 GB, expected at most 4.2 MB"):
        import_lerobot(folder, RATE)


def test_another_tensor_than_described_is_named(folder: Path) -> None:
    with_settings(folder, down_dims=[16, 16])
    with pytest.raises(PolicyError, match="tensor 'trunk"):
        import_lerobot(folder, RATE)


def test_no_units_without_being_told(folder: Path) -> None:
    with pytest.raises(PolicyError, match="--control-hz"):
        import_lerobot(folder, Wanted())
