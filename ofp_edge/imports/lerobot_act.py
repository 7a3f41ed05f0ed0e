"""LeRobot's ACT policy: Action Chunking with Transformers, which answers without noise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_file
from ofp_edge.imports.fields import Times, Wanted, resolve
from ofp_edge.imports.lerobot_features import (
    ENVIRONMENT,
    NO_EFFECT,
    NORMALIZATION,
    STATE,
    VISUAL,
    Features,
    read_features,
)
from ofp_edge.imports.record import Imported, Unread, config_of
from ofp_edge.imports.values import Values
from ofp_edge.imports.weights import built
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.imported.act import ActConfig
from ofp_edge.policy.imported.attention import ACTIVATIONS
from ofp_edge.policy.imported.images import RESNETS, dilates
from ofp_edge.policy.methods.method import Deterministic
from ofp_edge.strict import shown

_NO_EFFECT = (*NO_EFFECT, "dropout", "kl_weight", "n_vae_encoder_layers", "optimizer_lr_backbone")
_OF_CAMERAS = ("vision_backbone", "replace_final_stride_with_dilation")
_STATE = "observation.state"
_VAE = "model.vae_encoder"
_LATENT = "model.encoder_latent_input_proj"
UNREAD = {
    _VAE: "it encodes what was demonstrated, in training alone",
    f"{_LATENT}.weight": "it is multiplied by the latent, which is 0 when a chunk is made",
}
"""Tensors, by how their names begin, that are not read, and why."""
_STEM = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
_WHOLE = {
    f"{_LATENT}.bias": "trunk.latent",
    "model.encoder_1d_feature_pos_embed.weight": "trunk.places",
    "model.decoder_pos_embed.weight": "trunk.queries",
}
_PREFIXES = {
    "model.encoder_img_feat_input_proj.": "encoder.project.",
    "model.encoder.layers.": "trunk.encoder.",
    "model.encoder.norm.": "trunk.encoder_norm.",
    "model.decoder.layers.": "trunk.decoder.",
    "model.decoder.norm.": "trunk.decoder_norm.",
    "model.action_head.": "trunk.head.",
}
_VECTORS = {
    STATE: "model.encoder_robot_state_input_proj.",
    ENVIRONMENT: "model.encoder_env_state_input_proj.",
}
_PARTS = ("query", "key", "value")  # of one matrix there
_PACKED = re.compile(r"^(.*(?:self_attn|multihead_attn)\.)in_proj_(weight|bias)$")


def import_act(
    weights: Path, config: Values, tensors: Mapping[str, Tensor], wanted: Wanted
) -> Imported:
    """Import it from its opened files. PolicyError, SpecMismatch."""
    features = read_features(weights.parent, config, tensors, (STATE, ENVIRONMENT, VISUAL))
    config.require("n_obs_steps", 1)
    chunk, own = config.whole("chunk_size"), config.whole("n_action_steps")
    acted = wanted.acted(own)
    fields = resolve(wanted, features.inputs, features.action, Times(1, chunk, acted, 0))
    lengths = {kind: _length(features, kind, config.what) for kind in (STATE, ENVIRONMENT)}
    seen = bool(features.sizes(VISUAL))
    activation = config.text("feedforward_activation")
    if activation not in ACTIVATIONS:
        raise PolicyError(
            f"{config.what}: feedforward_activation {shown(activation)}: expected one of "
            f"{', '.join(ACTIVATIONS)}."
        )
    network_config = ActConfig(
        width=config.whole("dim_model"),
        heads=config.whole("n_heads"),
        feedforward=config.whole("dim_feedforward"),
        activation=activation,
        encoder_layers=config.whole("n_encoder_layers"),
        decoder_layers=config.whole("n_decoder_layers"),
        pre_norm=config.flag("pre_norm"),
        state=lengths[STATE],
        environment=lengths[ENVIRONMENT],
        backbone=_backbone(config) if seen else None,
        dilated=seen and _dilated(config),
        normalization=fields.modes,
    )
    latent, variational = config.whole("latent_dim"), config.flag("use_vae")
    coefficient = config["temporal_ensemble_coeff"]
    if coefficient is not None:
        coefficient = config.number("temporal_ensemble_coeff")
    config.require("use_peft", False)
    config.require_all_read(_NO_EFFECT if seen else (*_NO_EFFECT, *_OF_CAMERAS))
    named = {name.replace("_orig_mod.", ""): x for name, x in tensors.items()}
    unread = _unread(named, variational, (network_config.width, latent), str(weights))
    vectors = [kind for kind, length in lengths.items() if length]
    read = {name: x for name, x in named.items() if name not in unread}
    network = built(network_config, fields, renamed(read, vectors), str(weights))
    policy_config = config_of(
        network_config,
        fields.spec,
        fields.cameras,
        Deterministic.name,
        fields.task,
        "lerobot",
        sha256_file(weights),
    )
    about = {
        "type": "act",
        "start_index": 0,
        "tensors": len(tensors),
    }
    policy = Policy(policy_config, network.eval(), fields.statistics)
    remarks = (*_no_time(chunk, acted), *_ensembled(coefficient))
    counts = {start: sum(name.startswith(start) for name in unread) for start in UNREAD}
    left = tuple(Unread(f"{x}*", n, UNREAD[x]) for x, n in counts.items() if n)
    return Imported(policy, "lerobot act", {}, about, "chunk", remarks, left)


def renamed(tensors: Mapping[str, Tensor], vectors: Sequence[str]) -> dict[str, Tensor]:
    """Give the tensors our names; those that have no place keep theirs, and are refused by them.
    vectors: those that the network sees, in its order, of STATE and ENVIRONMENT."""
    found: dict[str, Tensor] = {}
    prefixes = {
        **_PREFIXES,
        **{_VECTORS[kind]: f"encoder.vectors.{i}." for i, kind in enumerate(vectors)},
    }
    for name, tensor in tensors.items():
        ours = _renamed(name, prefixes)
        if (packed := _PACKED.match(ours)) is None:
            found[ours] = tensor
            continue
        for part, piece in zip(_PARTS, tensor.chunk(3), strict=False):
            found[f"{packed[1]}{part}.{packed[2]}"] = piece
    for name in [x for x in found if x.endswith("running_mean")]:
        found[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    return found


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    if name in _WHOLE:
        return _WHOLE[name]
    if name.startswith("model.backbone."):
        stage, _, rest = name.removeprefix("model.backbone.").partition(".")
        return f"encoder.backbone.{_STEM.get(stage, stage)}.{rest}"
    for prefix, ours in prefixes.items():
        if name.startswith(prefix):
            return (ours + name.removeprefix(prefix)).replace(".out_proj.", ".out.")
    return name


def _unread(
    tensors: Mapping[str, Tensor], variational: bool, latent: tuple[int, int], what: str
) -> set[str]:
    """The names of UNREAD, and of the normalisation, which is read beside the features."""
    weight = tensors.get(f"{_LATENT}.weight")
    if weight is None or tuple(weight.shape) != latent:
        got = "none" if weight is None else tuple(weight.shape)
        raise PolicyError(f"{what}: {_LATENT}.weight: expected shape {latent}, got {got}.")
    for name in tensors:
        if not name.startswith(("model.", *NORMALIZATION)):
            raise PolicyError(f"{what}: tensor {shown(name)} is unknown: it is no part of an act.")
    starts = tuple(x for x in UNREAD if variational or x != _VAE)
    return {name for name in tensors if name.startswith((*starts, *NORMALIZATION))}


def _length(features: Features, kind: str, what: str) -> int:
    """The length of the one vector of a type, 0 where there is none; LeRobot's network sees
    no state but observation.state, and one environment."""
    names = [x.key for x in features.inputs if features.types[x.key] == kind]
    seen = [x for x in names if kind != STATE or x == _STATE][:1]
    if others := [x for x in names if x not in seen]:
        raise PolicyError(
            f"{what}: input_features: {shown(others[0])} of type {kind} has no place in an act "
            "policy, whose network never sees it. Take it out."
        )
    return sum(shape[0] for shape in features.sizes(kind))


def _backbone(config: Values) -> str:
    name = config.text("vision_backbone")
    if name not in RESNETS:
        raise PolicyError(
            f"{config.what}: vision_backbone {shown(name)}: expected one of {', '.join(RESNETS)}."
        )
    return name


def _dilated(config: Values) -> bool:
    """Whether the last layer has dilation for its stride: a flag, in some versions 0 or 1."""
    value = config["replace_final_stride_with_dilation"]
    if type(value) not in (bool, int) or value not in (0, 1):
        raise PolicyError(
            f"{config.what}: replace_final_stride_with_dilation: expected true or false, got "
            f"{shown(value)}."
        )
    if value and not dilates(name := _backbone(config)):
        raise PolicyError(
            f"{config.what}: replace_final_stride_with_dilation: {name} has no dilation."
        )
    return bool(value)


def _no_time(chunk: int, acted: int) -> tuple[str, ...]:
    if acted < chunk:
        return ()
    return (
        f"all {chunk} steps of a chunk are carried out before the next one, so a robot has no time "
        "to compute it: any latency is refused. Import it with --n-action-steps of so many steps "
        "fewer as computing takes.",
    )


def _ensembled(coefficient: float | None) -> tuple[str, ...]:
    if coefficient is None:
        return ()
    return (
        f"temporal_ensemble_coeff {coefficient:g}: chunks are not averaged here. Each takes over "
        "at the latency L and is followed alone; the rig's cross_fade_steps soften the change. An "
        "average needs a chunk every step; here --n-action-steps can have fewer.",
    )
