"""Import LeRobot's pi0.5: its sizes from the weights' shapes and from LeRobot's two variants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.fields import State
from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.record import Imported
from ofp_edge.imports.values import Values
from ofp_edge.imports.vla.checkpoint import NO_EFFECT, Checkpoint, open_checkpoint, policy_of
from ofp_edge.imports.vla.fields import Told
from ofp_edge.imports.vla.pi05_weights import EXPERT, HEAD, LANGUAGE, TOWER, WORDS, take_pi05
from ofp_edge.imports.vla.processors import relative_mask
from ofp_edge.imports.vla.tokenizer import stated_prompt
from ofp_edge.normalize import FieldStatistics, joined
from ofp_edge.policy.vla.kinds import Pi05Config
from ofp_edge.policy.vla.sizes import DecoderSizes, FlowSizes, VisionSizes
from ofp_edge.prompt import StateBins
from ofp_edge.strict import shown

# LeRobot's code has them, not its files.
_VARIANTS = ("gemma_300m", "gemma_2b")
_EPSILON, _THETA, _HEADS = 1e-6, 10000.0, 8
_VISION_HEADS, _VISION_EPSILON = 16, 1e-6
_NO_EFFECT = (
    *NO_EFFECT, "dtype", "time_sampling_beta_alpha", "time_sampling_beta_beta",
    "time_sampling_scale", "time_sampling_offset",
    "use_relative_actions", "relative_exclude_joints", "action_feature_names",  # the step's own
)  # fmt: skip


def import_pi05(folder: Path, config: Values, wanted: Wanted, told: Told) -> Imported:
    """Import it. PolicyError, SpecMismatch: a value or tensor is missing, refused or unfit."""
    if told.vlm is not None:
        raise PolicyError(f"{folder}: --vlm is for SmolVLA: a pi0.5 has one language model.")
    for key in ("paligemma_variant", "action_expert_variant"):
        if config.text(key) not in _VARIANTS:
            raise PolicyError(
                f"{config.what}: {key}: expected one of {', '.join(_VARIANTS)}, got "
                f"{shown(config[key])}."
            )
    found = open_checkpoint(folder, config, wanted, told, config.whole("max_state_dim"))
    if not found.processed.stated or found.processed.newline:
        raise PolicyError(f"{folder}: its processors are of another kind of policy.")
    found = _with_prefixes(found)
    fields = found.bound.fields
    sizes = _sizes(found, relative_mask(found.processed, fields.spec.action_dim))
    config.require_all_read(_NO_EFFECT)
    states = [f for f in fields.spec.observations if isinstance(f, State)]
    if sizes.relative and sum(f.shape[0] for f in states) < fields.spec.action_dim:
        raise PolicyError(f"{folder}: relative actions need a state of as many numbers or more.")
    bins = _bins([f.name for f in states], fields.modes, fields.statistics)
    prompt = stated_prompt(
        found.bound.instructions, found.tokenize, found.processed.words, bins,
        str(found.told.tokenizer),
    )  # fmt: skip
    return policy_of(found, sizes, lambda x: take_pi05(sizes, x), prompt, "lerobot pi05")


def _with_prefixes(found: Checkpoint) -> Checkpoint:
    """The tensors as LeRobot loads them: older files leave the first "model." out."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in found.tensors.items():
        name = name if name.startswith("model.") else f"model.{name}"
        if name in tensors:
            raise PolicyError(f"{found.folder}: tensor {shown(name)} stands in it twice.")
        tensors[name] = tensor
    return Checkpoint(**{**vars(found), "tensors": tensors})


def _bins(
    names: list[str], modes: Mapping[str, str], statistics: Mapping[str, FieldStatistics]
) -> StateBins:
    whole, mode = joined([statistics[name] for name in names]), modes[names[0]]
    ends = mode in ("min_max", "quantiles")
    first, second = (whole.low, whole.high) if ends else (whole.mean, whole.std)
    return StateBins(tuple(names), mode, first, second)  # type: ignore[arg-type]


def _sizes(found: Checkpoint, relative: tuple[bool, ...]) -> Pi05Config:
    config = found.config
    vocabulary, width = found.shape(WORDS if WORDS in found.tensors else HEAD)
    layers = found.count(f"{LANGUAGE}.layers.")
    if found.count(f"{EXPERT}.model.layers.") != layers:
        raise PolicyError(f"{found.folder}: expected {layers} layers of gemma_expert.")
    first = f"{LANGUAGE}.layers.0"
    queries = found.shape(f"{first}.self_attn.q_proj.weight")[0]
    keys = found.shape(f"{first}.self_attn.k_proj.weight")[0]
    head_dim = queries // _HEADS
    if queries % _HEADS or keys % head_dim:
        raise PolicyError(f"{found.folder}: expected {_HEADS} heads, got {queries} numbers.")

    def decoder(width: int, hidden: int) -> DecoderSizes:
        return DecoderSizes(
            width, layers, _HEADS, keys // head_dim, head_dim, hidden, "gelu_tanh", _EPSILON, _THETA
        )

    language = decoder(width, found.shape(f"{first}.mlp.gate_proj.weight")[0])
    actions = found.shape("model.action_in_proj.weight")[0]
    hidden = found.shape(f"{EXPERT}.model.layers.0.mlp.gate_proj.weight")[0]
    patches = found.shape(f"{TOWER}.embeddings.patch_embedding.weight")
    places = found.shape(f"{TOWER}.embeddings.position_embedding.weight")[0]
    size = config.pair("image_resolution")
    side = math.isqrt(places)
    if size is None or size != (side * patches[2],) * 2:
        raise PolicyError(
            f"{config.what}: image_resolution: expected {(side * patches[2],) * 2}, got {size}."
        )
    vision = VisionSizes(
        image=size[0], patch=patches[2], side=side, width=patches[0],
        layers=found.count(f"{TOWER}.encoder.layers."), heads=_VISION_HEADS,
        hidden=found.shape(f"{TOWER}.encoder.layers.0.mlp.fc1.weight")[0], epsilon=_VISION_EPSILON,
        shuffle=1, bias=True,
    )  # fmt: skip
    flow = FlowSizes(
        config.whole("max_action_dim"), config.number("min_period"), config.number("max_period")
    )
    return Pi05Config(
        vision, language, decoder(actions, hidden), flow, found.processed.words, vocabulary,
        config.whole("num_inference_steps"), found.bound.fields.modes, 1, relative or None,
    )  # fmt: skip
