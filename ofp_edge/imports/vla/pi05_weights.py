"""pi0.5's tensors under our names; every one of the file is taken or known to be unread."""

from __future__ import annotations

import torch
from torch import Tensor

from ofp_edge.imports.vla.shards import Put, Taking
from ofp_edge.imports.vla.tower import (
    layer_shapes,
    take_linear,
    take_prefix,
    take_vision,
    take_words,
)
from ofp_edge.policy.vla.kinds import Pi05Config

_BOTH = "model.paligemma_with_expert"
PALIGEMMA, EXPERT = f"{_BOTH}.paligemma", f"{_BOTH}.gemma_expert"
TOWER = f"{PALIGEMMA}.model.vision_tower.vision_model"
LANGUAGE = f"{PALIGEMMA}.model.language_model"
WORDS, HEAD = f"{LANGUAGE}.embed_tokens.weight", f"{PALIGEMMA}.lm_head.weight"
_NO_WORD = "no word is ever predicted"


def take_pi05(config: Pi05Config, take: Taking) -> tuple[dict[str, Tensor], Tensor]:
    """Return the network's tensors and the table of words. Raises PolicyError."""
    found: dict[str, Tensor] = {}
    put = found.__setitem__
    vision, language, expert = config.vision, config.language, config.expert
    tower = "encoder.module.pictures.vision"
    take_vision(take, put, TOWER, tower, vision)
    projector = f"{PALIGEMMA}.model.multi_modal_projector.linear"
    take_linear(take, put, projector, f"{tower}.project", language.width, vision.width)
    take_prefix(take, put, LANGUAGE, "encoder.module.prefix", language, plus=1.0)
    for i in range(expert.layers):
        for name, (own, shape) in layer_shapes(expert).items():
            there = f"{EXPERT}.model.layers.{i}.{name}.weight"
            put(f"trunk.expert.layers.{i}.{own}.weight", take.take(there, shape))
    width, flow = expert.width, config.flow.width
    _take_modulation(take, put, expert.layers, width)
    take_linear(take, put, "model.action_in_proj", "trunk.expert.enter", width, flow)
    take_linear(take, put, "model.action_out_proj", "trunk.expert.leave", flow, width)
    take_linear(take, put, "model.time_mlp_in", "time.inner", width, width)
    take_linear(take, put, "model.time_mlp_out", "time.out", width, width)
    put("time.step.weight", torch.zeros(width, width))
    words = take_words(take, WORDS, HEAD, (config.vocabulary, language.width))
    take.leave(f"{EXPERT}.lm_head.weight", (config.vocabulary, width), _NO_WORD)
    take.require_all_taken()
    return found, words


def _take_modulation(take: Taking, put: Put, layers: int, width: int) -> None:
    """Take scale, shift and gate of every norm as one layer: constants of a time row."""
    names = [
        f"layers.{i}.{norm}"
        for i in range(layers)
        for norm in ("input_layernorm", "post_attention_layernorm")
    ]
    for kind, shape in (("weight", (3 * width, width)), ("bias", (3 * width,))):
        parts = [
            take.take(f"{EXPERT}.model.{name}.dense.{kind}", shape) for name in (*names, "norm")
        ]
        put(f"time.modulate.{kind}", torch.cat(parts))
