"""SmolVLA's tensors under our names; every one of the file is taken or known to be unread."""

from __future__ import annotations

import torch
from torch import Tensor

from ofp_edge.imports.vla.shards import Taking
from ofp_edge.imports.vla.tower import (
    layer_shapes,
    take_linear,
    take_prefix,
    take_vision,
    take_words,
)
from ofp_edge.policy.vla.kinds import SmolVlaConfig

VLM, EXPERT = "model.vlm_with_expert.vlm", "model.vlm_with_expert.lm_expert"
WORDS = f"{VLM}.model.text_model.embed_tokens.weight"


def take_smolvla(config: SmolVlaConfig, take: Taking) -> tuple[dict[str, Tensor], Tensor]:
    """Return the network's tensors and the table of words. Raises PolicyError."""
    found: dict[str, Tensor] = {}
    put = found.__setitem__
    vision, language, expert = config.vision, config.language, config.expert
    module, trunk = "encoder.module", "trunk.expert"
    tower = f"{module}.pictures.vision"
    take_vision(take, put, f"{VLM}.model.vision_model", tower, vision)
    take_linear(
        take, put, f"{VLM}.model.connector.modality_projection.proj", f"{tower}.project",
        language.width, vision.width * vision.shuffle**2, bias=False,
    )  # fmt: skip
    take_prefix(take, put, f"{VLM}.model.text_model", f"{module}.prefix", language, plus=0.0)
    take_linear(take, put, "model.state_proj", f"{module}.state", language.width, config.state)
    groups = expert.kv_heads * expert.head_dim
    for i, crosses in enumerate(config.crosses):
        there, here = f"{EXPERT}.layers.{i}", f"{trunk}.layers.{i}"
        for name, (own, shape) in layer_shapes(expert).items():
            at = f"{here}.{own}.weight"
            if crosses and own in ("k", "v"):
                at, shape = f"{module}.cross.{i}.{own}.weight", (groups, groups)
            put(at, take.take(f"{there}.{name}.weight", shape))
        for name, own in (("input_layernorm", "norm1"), ("post_attention_layernorm", "norm2")):
            put(f"{here}.{own}.weight", take.take(f"{there}.{name}.weight", (expert.width,)))
    put(f"{trunk}.norm.weight", take.take(f"{EXPERT}.norm.weight", (expert.width,)))
    width, flow = expert.width, config.flow.width
    take_linear(take, put, "model.action_in_proj", f"{trunk}.enter", width, flow)
    take_linear(take, put, "model.action_out_proj", f"{trunk}.leave", flow, width)
    take_linear(take, put, "model.action_time_mlp_out", f"{trunk}.mixed", width, width)
    both = take.take("model.action_time_mlp_in.weight", (width, 2 * width))  # actions, then time
    put(f"{trunk}.mix.weight", both[:, :width].contiguous())
    put("time.inner.weight", both[:, width:].contiguous())
    put("time.inner.bias", take.take("model.action_time_mlp_in.bias", (width,)))
    put("time.step.weight", torch.zeros(width, width))
    shape = (config.vocabulary, language.width)
    words = take_words(take, WORDS, f"{VLM}.lm_head.weight", shape)
    take.require_all_taken()
    return found, words
