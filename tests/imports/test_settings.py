"""A checkpoint's settings: sampled by as diffusers does, or refused by name, never passed over."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from ofp_edge.errors import PolicyError
from ofp_edge.imports.checkpoint import import_checkpoint, plain_config
from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.lerobot import import_lerobot
from ofp_edge.imports.noise import read_schedule
from ofp_edge.imports.unpickle import read_checkpoint
from ofp_edge.imports.values import Values
from ofp_edge.policy.config import network_from_json
from ofp_edge.policy.imported.schedule import rungs, stepped

FIXTURES = Path(__file__).parent / "fixtures"
RATE = Wanted(control_hz=10.0)
PLAIN = {
    "num_train_timesteps": 100, "beta_start": 1e-4, "beta_end": 0.02, "clip_sample": True,
    "beta_schedule": "squaredcos_cap_v2", "prediction_type": "epsilon",
}  # fmt: skip
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    payload = read_checkpoint(FIXTURES / "diffusion_policy.ckpt")
    return {**payload, "cfg": plain_config(payload["cfg"], "cfg")}


def checkpoint(saved: dict[str, Any], folder: Path, change: Change) -> Path:
    payload = {"cfg": copy.deepcopy(saved["cfg"]), "state_dicts": saved["state_dicts"]}
    change(payload["cfg"]["policy"])
    torch.save(payload, folder / "x.ckpt")
    return folder / "x.ckpt"


@pytest.mark.parametrize("kind", ["DDIM", "DDPM"])
@pytest.mark.parametrize("predicts", ["epsilon", "sample"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"steps_offset": 1, "set_alpha_to_one": False}, {"steps_offset": 3},
     {"set_alpha_to_one": False}, {"timestep_spacing": "trailing"},
     {"timestep_spacing": "linspace"}, {"clip_sample_range": 3.0}, {"clip_sample": False},
     {"rescale_betas_zero_snr": True}, {"beta_schedule": "scaled_linear", "beta_end": 0.3},
     {"thresholding": False, "sample_max_value": 2.0, "trained_betas": None}],
    ids=str,
)  # fmt: skip
def test_every_setting_samples_as_diffusers_does(
    kind: str, predicts: str, settings: dict[str, Any]
) -> None:
    given = {**PLAIN, "prediction_type": predicts, **settings}
    if kind == "DDPM":
        given.pop("set_alpha_to_one", None)
    values = Values(given, "noise_scheduler")
    config = read_schedule(values, kind, 8)
    values.require_all_read()
    own = getattr(diffusers, f"{kind}Scheduler")(**given)
    own.set_timesteps(8)
    generator = torch.Generator().manual_seed(0)
    steps = rungs(config, 8)
    assert [rung.k for rung in steps] == own.timesteps.tolist()
    for rung in steps:
        z, out = (torch.randn(1, 24, generator=generator) for _ in range(2))
        state = generator.get_state()
        expected = own.step(out, rung.k, z, generator=generator).prev_sample
        generator.set_state(state)
        got = stepped(z, out, rung.constants, config.clip)
        if rung.sigma:
            got = got + rung.sigma * torch.randn(1, 24, generator=generator)
        assert torch.allclose(got, expected, rtol=1e-5, atol=1e-5), rung.k


def test_a_checkpoints_own_settings_reach_its_policy(saved: Any, tmp_path: Path) -> None:
    settings = {"steps_offset": 1, "set_alpha_to_one": False, "timestep_spacing": "leading",
                "clip_sample_range": 3.0, "rescale_betas_zero_snr": True}  # fmt: skip

    def change(policy: dict[str, Any]) -> None:
        policy["noise_scheduler"] = {"_target_": "diffusers.DDIMScheduler", **PLAIN, **settings}
        policy["num_inference_steps"] = 8

    network = import_checkpoint(checkpoint(saved, tmp_path, change), RATE).policy.config.network
    got = network.schedule  # type: ignore[attr-defined]
    assert (got.offset, got.ends_at_one, got.spacing) == (1, False, "leading")
    assert (got.clip, got.zero_snr, got.steps) == (3.0, True, 8)
    assert network_from_json(json.loads(json.dumps(network.to_json()))) == network


@pytest.mark.parametrize(
    ("change", "named"),
    [(lambda p: p.update(eta=0.5), "eta 0.5"), (lambda p: p.update(guidance=2), "'guidance'"),
     (lambda p: p.update(use_clipped_model_output=True), "use_clipped_model_output True"),
     (lambda p: p.update(obs_as_local_cond=True), "obs_as_local_cond True"),
     (lambda p: p.update(oa_step_convention="False"), "oa_step_convention: expected true or false"),
     (lambda p: p["model"].update(dropout=0.1), r"policy\.model.*'dropout'"),
     (lambda p: p["model"].update(_target_="mine.AttentionUnet1D"), "AttentionUnet1D"),
     (lambda p: p["model"].update(cond_predict_scale="no"), "cond_predict_scale"),
     (lambda p: p["noise_scheduler"].update(sigma_schedule="karras"), "'sigma_schedule'"),
     (lambda p: p["noise_scheduler"].update(set_alpha_to_one=False), "'set_alpha_to_one'"),
     (lambda p: p["noise_scheduler"].update(thresholding=True), "thresholding True"),
     (lambda p: p["noise_scheduler"].update(trained_betas=[0.1]), "trained_betas"),
     (lambda p: p["noise_scheduler"].update(variance_type="fixed_large"), "fixed_large"),
     (lambda p: p["noise_scheduler"].update(timestep_spacing="karras"), "spacing 'karras'"),
     (lambda p: p["noise_scheduler"].update(clip_sample_range=0.0), "clip_sample_range"),
     (lambda p: p["noise_scheduler"].update(clip_sample="false"), "clip_sample: expected true"),
     (lambda p: p["noise_scheduler"].update(steps_offset=1), r"steps_offset 1.*of 0 to 99"),
     (lambda p: p["noise_scheduler"].update(rescale_betas_zero_snr=True), "begin at step 99")],
)  # fmt: skip
def test_what_a_checkpoint_says_and_is_not_understood_is_named(
    saved: Any, tmp_path: Path, change: Change, named: str
) -> None:
    with pytest.raises(PolicyError, match=named):
        import_checkpoint(checkpoint(saved, tmp_path, change), RATE)


def test_a_tensor_that_nothing_takes_is_named(saved: Any, tmp_path: Path) -> None:
    states = {"ema_model": {**saved["state_dicts"]["ema_model"], "gate.weight": torch.ones(1)}}
    torch.save({"cfg": saved["cfg"], "state_dicts": states}, tmp_path / "x.ckpt")
    with pytest.raises(PolicyError, match=r"gate\.weight"):
        import_checkpoint(tmp_path / "x.ckpt", RATE)
    folder = Path(shutil.copytree(FIXTURES / "lerobot_state", tmp_path / "lerobot"))
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "gate.weight": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(PolicyError, match=r"gate\.weight"):
        import_lerobot(folder, RATE)


def processor(step: int, **settings: Any) -> Change:
    return lambda value: value["steps"][step]["config"].update(settings)


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [("config.json", lambda v: v.update(guidance_scale=2.0), "'guidance_scale'.*2.0"),
     ("config.json", lambda v: v.update(use_peft=True), "use_peft True"),
     ("config.json", lambda v: v.update(steps_offset=1), "steps_offset 1"),
     ("config.json", lambda v: v.update(use_film_scale_modulation="false"), "use_film_scale"),
     ("config.json", lambda v: v["output_features"]["action"].update(delta=True), "'delta'"),
     ("policy_preprocessor.json", lambda v: v.update(resample=30), "'resample'"),
     ("policy_preprocessor.json", lambda v: v["steps"][1].update(order=2), "'order'"),
     ("policy_preprocessor.json", processor(1, pad=1), "'pad'"),
     ("policy_preprocessor.json", processor(2, float_dtype="float16"), "float_dtype 'float16'"),
     ("policy_preprocessor.json", processor(3, clip=5.0), "'clip'"),
     ("policy_preprocessor.json", processor(3, features={}), r"observation\.state.*missing"),
     ("policy_postprocessor.json", processor(0, features={"action": {"type": "STATE"}}),
      "'action' is of type 'STATE'")],
)  # fmt: skip
def test_what_lerobots_files_say_and_is_not_understood_is_named(
    tmp_path: Path, file: str, change: Change, named: str
) -> None:
    folder = Path(shutil.copytree(FIXTURES / "lerobot_state", tmp_path / "lerobot"))
    value = json.loads((folder / file).read_text())
    change(value)
    (folder / file).write_text(json.dumps(value))
    with pytest.raises(PolicyError, match=named):
        import_lerobot(folder, RATE)
