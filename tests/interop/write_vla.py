"""Write tests/imports/fixtures/{smolvla,pi05} with LeRobot 0.6.1's own classes, at tiny sizes.

    python tests/interop/write_vla.py FOLDER    # in an environment that has lerobot[smolvla,pi]

Sizes that LeRobot has in its code are patched; every parameter is drawn from its name (drawn.py),
so that the weights need not be kept. The tokenizers are stand-ins. What is kept is what LeRobot
saved, the names and shapes, and what it answered. Nothing of ofp-edge is imported here.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from drawn import drawn
from lerobot.configs.types import FeatureType, PolicyFeature
from safetensors.torch import save_file
from tokenizers_of import byte_level, gemma
from transformers import AutoTokenizer, PreTrainedTokenizerFast

SEED = 11
STATE, ACTION, ROWS = 5, 4, 3
IMAGES = {"front": (3, 24, 40), "wrist": (3, 32, 32)}
TASKS = ["open the drawer, then close it", "pick up the red cube", "fold_the towel\n"]
VLM = {
    "model_type": "smolvlm", "scale_factor": 2, "image_token_id": 3,
    "text_config": {
        "model_type": "llama", "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 4,
        "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5,
        "vocab_size": 384, "rope_theta": 100000.0, "pad_token_id": 0,
    },
    "vision_config": {
        "model_type": "smolvlm_vision", "hidden_size": 24, "intermediate_size": 40,
        "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 32, "patch_size": 4,
    },
}  # fmt: skip


def features() -> tuple[dict[str, PolicyFeature], dict[str, PolicyFeature]]:
    """Inputs, a camera among them that no observation has, and the action."""
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (STATE,))}
    for name, shape in IMAGES.items():
        inputs[f"observation.images.{name}"] = PolicyFeature(FeatureType.VISUAL, shape)
    return inputs, {"action": PolicyFeature(FeatureType.ACTION, (ACTION,))}


def fill(policy: torch.nn.Module) -> dict[str, list[int]]:
    """Every parameter from its name; return names and shapes as they are saved."""
    state = policy.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            tensor.copy_(drawn(name, tuple(tensor.shape), SEED))
    return {name: list(x.shape) for name, x in state.items()}


def stats() -> dict[str, dict[str, np.ndarray]]:
    """A dataset's statistics."""
    rng = np.random.default_rng(SEED)
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, size in (("observation.state", STATE), ("action", ACTION)):
        low = rng.uniform(-2, 0, size).astype(np.float32)
        high = low + rng.uniform(0.5, 3, size).astype(np.float32)
        found[key] = {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 3,
                      "q01": low + np.float32(0.05), "q99": high - np.float32(0.05)}  # fmt: skip
    return found


def observed(known: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What the robot sees in each row, raw; images are whole 255ths; a state lies below q01."""
    rng = np.random.default_rng([SEED, 1])
    low, high = known["observation.state"]["min"], known["observation.state"]["max"]
    state = rng.uniform(low, high, (ROWS, STATE)).astype(np.float32)
    state[1, 2] = low[2] - 1
    seen = {"observation.state": torch.from_numpy(state)}
    for name, shape in IMAGES.items():
        whole = rng.integers(0, 256, (ROWS, *shape), dtype=np.uint8)
        seen[f"observation.images.{name}"] = torch.from_numpy(whole) * np.float32(1 / 255)
    return seen


def answered(policy: Any, steps: Any, core: Any, horizon: int, width: int) -> dict[str, Any]:
    """What LeRobot makes of fixed inputs: ids, keys and values, ten steps, raw actions."""
    before, after = steps
    known = observed(stats())
    batch = before({**{k: v.clone() for k, v in known.items()}, "task": list(TASKS)})
    rng = np.random.default_rng([SEED, 2])
    noise = torch.from_numpy(rng.standard_normal((ROWS, horizon, width), dtype=np.float32))
    kept: dict[str, Any] = {}
    inside = core.denoise_step

    def watched(**given: Any) -> torch.Tensor:
        out = inside(**given)
        number = sum(x.startswith("velocity") for x in kept)
        kept[f"velocity.{number}"] = out
        if number == 0:
            kept["prefix_valid"] = given["prefix_pad_masks"].float()
            for i, layer in enumerate(given["past_key_values"].layers):
                kept[f"key.{i}"], kept[f"value.{i}"] = layer.keys.clone(), layer.values.clone()
        return out

    with torch.no_grad(), mock.patch.object(core, "denoise_step", watched):
        chunk = policy.predict_action_chunk(dict(batch), noise=noise)
    found = {
        "noise": noise, "chunk": chunk, "raw": after(chunk),
        "ids": batch["observation.language.tokens"],
        "ids_valid": batch["observation.language.attention_mask"].float(),
        **{name: x for name, x in kept.items() if name in ("velocity.0", "prefix_valid")},
    }  # fmt: skip
    for name, x in known.items():
        whole = "images" in name
        found[f"seen/{name}"] = (x * 255).round().to(torch.uint8) if whole else x
    # Of each layer's keys and values one number a word: the sum, weighted so that order matters.
    for name in [x for x in kept if x.startswith(("key.", "value."))]:
        x = kept[name]
        weights = torch.cos(torch.arange(x.shape[1] * x.shape[3], dtype=torch.float32))
        found[name] = torch.einsum("bhpd,hd->bp", x, weights.view(x.shape[1], x.shape[3]))
    return {name: x.contiguous() for name, x in found.items()}


def write(folder: Path, policy: Any, make: Any, core: Any, tokenizer: Path) -> None:
    """All of one policy."""
    shapes = fill(policy)
    policy.eval()
    folder.mkdir(parents=True, exist_ok=True)
    steps = make(policy.config, stats())
    policy.config.save_pretrained(folder)
    for processor in steps:
        processor.save_pretrained(folder)
    (folder / "shapes.json").write_text(json.dumps({"seed": SEED, "shapes": shapes}, indent=0))
    config = policy.config
    found = answered(policy, steps, core, config.chunk_size, config.max_action_dim)
    save_file(found, folder / "answers.safetensors")
    shutil.copy(tokenizer, folder / "tokenizer.json")


def local_tokenizer(path: Path, folder: Path) -> None:
    """A folder that transformers loads it from."""
    PreTrainedTokenizerFast(
        tokenizer_file=str(path), pad_token="<pad>" if "gemma" in path.name else "<|endoftext|>"
    ).save_pretrained(folder)


def smolvla(folder: Path, place: Path) -> None:
    """SmolVLA: four VLM layers of which three are kept, a missing camera, ragged prompts."""
    from lerobot.policies.smolvla import modeling_smolvla, smolvlm_with_expert
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors

    vlm = place / "vlm"
    vlm.mkdir()
    byte_level(place / "bytes.json")
    local_tokenizer(place / "bytes.json", vlm)
    (vlm / "config.json").write_text(json.dumps(VLM))
    inputs, outputs = features()
    config = SmolVLAConfig(
        input_features=inputs, output_features=outputs, chunk_size=6, n_action_steps=4,
        max_state_dim=6, max_action_dim=8, resize_imgs_with_padding=(32, 32), empty_cameras=1,
        tokenizer_max_length=24, num_vlm_layers=3, vlm_model_name=str(vlm), device="cpu",
        load_vlm_weights=False, pad_language_to="max_length",
    )  # fmt: skip
    ids = SimpleNamespace(tokenizer=SimpleNamespace(fake_image_token_id=1, global_image_token_id=2))
    with mock.patch.object(
        smolvlm_with_expert.AutoProcessor, "from_pretrained", lambda *_: ids
    ), mock.patch.object(smolvlm_with_expert, "get_intermediate_size", lambda _: 44):  # fmt: skip
        policy = modeling_smolvla.SmolVLAPolicy(config)
    write(folder, policy, make_smolvla_pre_post_processors, policy.model, place / "bytes.json")
    (folder / "vlm_config.json").write_text(json.dumps(VLM))
    for name in ("config.json", "policy_preprocessor.json"):  # the name, not this machine's path
        file = folder / name
        file.write_text(file.read_text().replace(str(vlm), "stand-in/vlm"))


def pi05(folder: Path, place: Path) -> None:
    """pi0.5: LeRobot's two Gemmas and SigLIP made small, a missing camera, relative actions."""
    from lerobot.policies.pi05 import modeling_pi05
    from lerobot.policies.pi05.configuration_pi05 import PI05Config
    from lerobot.policies.pi05.processor_pi05 import make_pi05_pre_post_processors
    from transformers.models.auto import CONFIG_MAPPING

    gemma(place / "gemma.json")
    words = place / "words"
    local_tokenizer(place / "gemma.json", words)
    inputs, outputs = features()
    config = PI05Config(
        input_features=inputs, output_features=outputs, chunk_size=6, n_action_steps=4,
        max_state_dim=6, max_action_dim=8, image_resolution=(24, 24), empty_cameras=1,
        tokenizer_max_length=48, device="cpu", use_relative_actions=True,
        relative_exclude_joints=["grip"], action_feature_names=["a", "b", "grip_l", "c"],
    )  # fmt: skip
    kinds = {
        "gemma_2b": modeling_pi05.GemmaConfig(32, 3, 48, 8, 1, 4),
        "gemma_300m": modeling_pi05.GemmaConfig(24, 3, 40, 8, 1, 4),
    }

    def paligemma() -> Any:
        made = CONFIG_MAPPING["paligemma"]()
        made.projection_dim = made.vision_config.projection_dim = 32
        return made

    def small(made: Any) -> None:
        """What LeRobot has set to its own sizes by then."""
        vision = made.vision_config
        vision.hidden_size, vision.num_hidden_layers, vision.patch_size = 32, 2, 6
        vision.intermediate_size, vision.projection_dim = 36, 32
        made.text_config.vocab_size = 272

    real, real_expert = (
        modeling_pi05.PaliGemmaForConditionalGenerationWithPiGemma, modeling_pi05.PiGemmaForCausalLM
    )  # fmt: skip

    def vlm(config: Any) -> Any:
        small(config)
        return real(config=config)

    def expert(config: Any) -> Any:
        config.vocab_size = 272
        return real_expert(config=config)

    mapping = {"paligemma": paligemma, "gemma": CONFIG_MAPPING["gemma"]}
    with (
        mock.patch.object(modeling_pi05, "get_gemma_config", kinds.__getitem__),
        mock.patch.object(modeling_pi05, "CONFIG_MAPPING", mapping),
        mock.patch.object(modeling_pi05, "PaliGemmaForConditionalGenerationWithPiGemma", vlm),
        mock.patch.object(modeling_pi05, "PiGemmaForCausalLM", expert),
    ):
        policy = modeling_pi05.PI05Policy(config)
    real_make = AutoTokenizer.from_pretrained
    with mock.patch.object(AutoTokenizer, "from_pretrained", lambda _: real_make(str(words))):
        write(folder, policy, make_pi05_pre_post_processors, policy.model, place / "gemma.json")


def main(folder: Path) -> None:
    """Both."""
    import tempfile

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "s").mkdir()
        smolvla(folder / "smolvla", Path(place) / "s")
        (Path(place) / "p").mkdir()
        pi05(folder / "pi05", Path(place) / "p")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
