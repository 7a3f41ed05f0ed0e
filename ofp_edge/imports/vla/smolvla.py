"""Import LeRobot's SmolVLA: its sizes from the weights' shapes, config.json and the VLM's own."""

from __future__ import annotations

import math
from pathlib import Path

from ofp_edge.errors import PolicyError
from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.record import Imported
from ofp_edge.imports.values import Values
from ofp_edge.imports.vla.checkpoint import NO_EFFECT, Checkpoint, open_checkpoint, policy_of
from ofp_edge.imports.vla.fields import Told
from ofp_edge.imports.vla.smolvla_weights import EXPERT, VLM, take_smolvla
from ofp_edge.imports.vla.tokenizer import plain_prompt
from ofp_edge.imports.vla.vlm import read_vlm
from ofp_edge.policy.vla.kinds import SmolVlaConfig
from ofp_edge.policy.vla.sizes import DecoderSizes, FlowSizes, VisionSizes
from ofp_edge.strict import shown

_THETA = 10000.0  # LeRobot's own, whatever the language model was trained with
_NO_EFFECT = (
    *NO_EFFECT, "train_state_proj", "load_vlm_weights",
    "prefix_length", "pad_language_to",  # padding is masked
)  # fmt: skip


def import_smolvla(folder: Path, config: Values, wanted: Wanted, told: Told) -> Imported:
    """Import it. PolicyError, SpecMismatch: a value or tensor is missing, refused or unfit."""
    for key, only in (
        ("adapt_to_pi_aloha", False), ("use_delta_joint_actions_aloha", False), ("use_cache", True),
        ("add_image_special_tokens", False),
    ):  # fmt: skip
        config.require(key, only)
    state = config.whole("max_state_dim")
    found = open_checkpoint(folder, config, wanted, told, state)
    if found.processed.stated or found.processed.relative:
        raise PolicyError(f"{folder}: its processors are of another kind of policy.")
    sizes = _sizes(found, state)
    config.require_all_read(_NO_EFFECT)
    prompt = plain_prompt(
        found.bound.instructions, found.tokenize, found.processed.words,
        newline=found.processed.newline,
    )  # fmt: skip
    return policy_of(found, sizes, lambda x: take_smolvla(sizes, x), prompt, "lerobot smolvla")


def _sizes(found: Checkpoint, state: int) -> SmolVlaConfig:
    config = found.config
    vlm = read_vlm(config.text("vlm_model_name"), found.told.vlm)
    tower, text = f"{VLM}.model.vision_model", f"{VLM}.model.text_model"
    layers = found.count(f"{text}.layers.")
    stated = config["num_vlm_layers"]
    if type(stated) is not int or (stated > 0 and stated != layers):
        raise PolicyError(f"{config.what}: num_vlm_layers {shown(stated)}: the file has {layers}.")
    experts = config["num_expert_layers"]
    if type(experts) is not int or (experts > 0 and experts != layers):
        config.require("num_expert_layers", layers)
    if found.count(f"{EXPERT}.layers.") != layers:
        raise PolicyError(f"{found.folder}: expected {layers} layers of lm_expert.")
    share = config.number("expert_width_multiplier")
    language = DecoderSizes(
        vlm.width, layers, vlm.heads, vlm.kv_heads, vlm.head_dim, vlm.hidden, "silu", vlm.epsilon,
        _THETA,
    )  # fmt: skip
    hidden = found.shape(f"{EXPERT}.layers.0.mlp.gate_proj.weight")[0]
    expert = DecoderSizes(
        int(vlm.width * share), layers, vlm.heads, vlm.kv_heads, vlm.head_dim, hidden, "silu",
        vlm.epsilon, _THETA,
    )  # fmt: skip
    places = found.shape(f"{tower}.embeddings.position_embedding.weight")[0]
    size = config.pair("resize_imgs_with_padding")
    if size is None or size[0] != size[1]:
        raise PolicyError(
            f"{config.what}: resize_imgs_with_padding: expected a square, got {size}."
        )
    vision = VisionSizes(
        image=size[0], patch=vlm.patch, side=math.isqrt(places), width=vlm.vision_width,
        layers=found.count(f"{tower}.encoder.layers."), heads=vlm.vision_heads,
        hidden=found.shape(f"{tower}.encoder.layers.0.mlp.fc1.weight")[0],
        epsilon=vlm.vision_epsilon, shuffle=vlm.shuffle, bias=False,
    )  # fmt: skip
    flow = FlowSizes(
        config.whole("max_action_dim"), config.number("min_period"), config.number("max_period")
    )
    return SmolVlaConfig(
        vision, language, expert, flow, found.processed.words, vlm.vocabulary,
        config.whole("num_steps"), found.bound.fields.modes, 1, state, _own_every(config),
    )  # fmt: skip


def _own_every(config: Values) -> int:
    """Each so many layers the actions see each other too; 0: never."""
    mode, every = config.text("attention_mode"), config["self_attn_every_n_layers"]
    if mode not in ("cross_attn", "self_attn"):
        config.require("attention_mode", "cross_attn")
    if type(every) is not int:
        raise PolicyError(f"{config.what}: self_attn_every_n_layers: expected a whole number.")
    return 1 if mode == "self_attn" else max(every, 0)
