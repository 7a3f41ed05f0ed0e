"""The sizes of the vision-language model behind a SmolVLA, which its checkpoint only names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofp_edge.errors import PolicyError
from ofp_edge.imports.spec_file import small_json
from ofp_edge.imports.values import Values
from ofp_edge.strict import shown

# What of a model's config.json the shapes of its weights do not say.
_KNOWN: dict[str, dict[str, Any]] = {
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": {
        "text_config": {
            "hidden_size": 960, "num_attention_heads": 15, "num_key_value_heads": 5, "head_dim": 64,
            "intermediate_size": 2560, "rms_norm_eps": 1e-5, "vocab_size": 49280,
        },
        "vision_config": {"num_attention_heads": 12, "hidden_size": 768, "patch_size": 16},
        "scale_factor": 4,
    }
}  # fmt: skip
_VISION_EPSILON = 1e-6  # SigLIP's, where the file states none


@dataclass(frozen=True)
class Vlm:
    """Sizes of a SmolVLM, by the names of its config.json."""

    width: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    epsilon: float
    vocabulary: int
    vision_heads: int
    vision_width: int
    vision_epsilon: float
    patch: int
    shuffle: int


def read_vlm(name: str, path: Path | None) -> Vlm:
    """Return the sizes of a model of this name, or of its config.json. Raises PolicyError."""
    if path is None and name not in _KNOWN:
        raise PolicyError(
            f"the sizes of {shown(name)} are not known here, only of {', '.join(_KNOWN)}: give "
            "--vlm, that model's config.json."
        )
    what = name if path is None else str(path)
    whole = Values(_KNOWN[name] if path is None else small_json(path), what)
    text = Values(whole["text_config"], f"{what}, text_config")
    vision = Values(whole["vision_config"], f"{what}, vision_config")
    for key, only in (("model_type", "llama"), ("hidden_act", "silu"), ("attention_bias", False)):
        text.require(key, only)
    text.require("mlp_bias", False)
    vision.require("hidden_act", "gelu_pytorch_tanh")
    heads, width = text.whole("num_attention_heads"), text.whole("hidden_size")
    has_size = text.get("head_dim") is not None
    epsilon = vision.get("layer_norm_eps")
    return Vlm(
        width=width,
        heads=heads,
        kv_heads=text.whole("num_key_value_heads"),
        head_dim=text.whole("head_dim") if has_size else width // heads,
        hidden=text.whole("intermediate_size"),
        epsilon=text.number("rms_norm_eps"),
        vocabulary=text.whole("vocab_size"),
        vision_heads=vision.whole("num_attention_heads"),
        vision_width=vision.whole("hidden_size"),
        vision_epsilon=_VISION_EPSILON if epsilon is None else vision.number("layer_norm_eps"),
        patch=vision.whole("patch_size"),
        shuffle=whole.whole("scale_factor"),
    )
