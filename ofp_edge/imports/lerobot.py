"""Import LeRobot's DiffusionPolicy: a `pretrained_model` folder of JSON and safetensors.

Every value is the file's own, never a default: those have changed between versions. Normalisation
is in processor files (processors.py), or, in older checkpoints, in buffers among the weights. An
entry that is neither read nor known to be without effect is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ofp_edge.contents import told
from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_file
from ofp_edge.imports.fields import Feature, Times, Wanted, resolve
from ofp_edge.imports.noise import read_schedule
from ofp_edge.imports.processors import Statistics, feature_of, finite_numbers, read_processor
from ofp_edge.imports.record import Imported, config_of
from ofp_edge.imports.spec_file import small_json
from ofp_edge.imports.values import Values
from ofp_edge.imports.vla.fields import Told
from ofp_edge.imports.vla.pi05 import import_pi05
from ofp_edge.imports.vla.smolvla import import_smolvla
from ofp_edge.imports.weights import built, from_lerobot
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.imported.denoiser import DenoiserConfig
from ofp_edge.policy.imported.images import RESNETS, CameraConfig
from ofp_edge.policy.imported.schedule import ScheduleConfig
from ofp_edge.policy.weights import read_tensors
from ofp_edge.strict import shown

CONFIG, MODEL = "config.json", "model.safetensors"
PROCESSORS = {"observations": "policy_preprocessor.json", "actions": "policy_postprocessor.json"}
# What training, its hardware and the hub were told: nothing of it is there when a chunk is made.
_NO_EFFECT = (
    "device", "use_amp", "push_to_hub", "repo_id", "private", "tags", "license",
    "pretrained_path", "pretrained_revision", "drop_n_last_frames", "crop_is_random",
    "pretrained_backbone_weights", "gradient_checkpointing", "compile_model", "compile_mode",
    "do_mask_loss_for_padding", "optimizer_lr", "optimizer_betas", "optimizer_eps",
    "optimizer_weight_decay", "scheduler_name", "scheduler_warmup_steps",
    "normalization_mapping",  # read where there is no processor, which has its own
)  # fmt: skip
_OF_CAMERAS = (
    "vision_backbone", "resize_shape", "crop_ratio", "crop_shape", "use_group_norm",
    "spatial_softmax_num_keypoints", "use_separate_rgb_encoder_per_camera",
)  # fmt: skip
_OF_WORDS = {"smolvla": import_smolvla, "pi05": import_pi05}
_ORDER = ("STATE", "VISUAL", "ENV")


def import_lerobot(folder: Path, wanted: Wanted, words: Told | None = None) -> Imported:
    """Import it. words: what only the user knows of a policy of words. PolicyError, SpecMismatch:
    a value or tensor is missing, refused or unfit."""
    if folder.is_file():
        is_it = "a file" if (what := told(folder)) is None else what
        raise PolicyError(
            f"{folder}: expected LeRobot's pretrained_model folder, with {CONFIG} and {MODEL}, got "
            f"{is_it}."
        )
    config = Values(small_json(folder / CONFIG), str(folder / CONFIG))
    kind = config["type"]
    if kind in _OF_WORDS:
        return _OF_WORDS[kind](folder, config, wanted, words or Told())
    if kind != "diffusion":
        known = ", ".join(("diffusion", *_OF_WORDS))
        raise PolicyError(
            f"{folder}: a policy of type {shown(kind)} can't be imported, only {known} can. "
            "Export its network as a program: import --exported."
        )
    if words not in (None, Told()):
        raise PolicyError(f"{folder}: a diffusion policy takes no words: leave their options out.")
    tensors = read_tensors(folder / MODEL)
    features, action = _features(folder, config, tensors)
    times = Times(
        config.whole("n_obs_steps"),
        config.whole("horizon"),
        config.whole("n_action_steps"),
        config.whole("n_obs_steps") - 1,
    )
    fields = resolve(wanted, features, action, times)
    network_config = DenoiserConfig(
        channels=config.wholes("down_dims"),
        kernel=config.whole("kernel_size"),
        groups=config.whole("n_groups"),
        step_features=config.whole("diffusion_step_embed_dim"),
        scale_modulation=config.flag("use_film_scale_modulation"),
        cameras=_cameras(config) if any(f.image for f in features) else None,
        schedule=_schedule(config),
        normalization=fields.modes,
    )
    config.require("use_peft", False)
    config.require_all_read(_NO_EFFECT if network_config.cameras else (*_NO_EFFECT, *_OF_CAMERAS))
    network = built(network_config, fields, from_lerobot(tensors), str(folder / MODEL))
    policy_config = config_of(
        network_config,
        fields.spec,
        fields.cameras,
        "diffusion",
        fields.task,
        "lerobot",
        sha256_file(folder / MODEL),
    )
    about = {"type": kind, "start_index": times.start_index, "tensors": len(tensors)}
    policy = Policy(policy_config, network.eval(), fields.statistics)
    return Imported(policy, "lerobot diffusion", {}, about)


def _schedule(config: Values) -> ScheduleConfig:
    kind = config.text("noise_scheduler_type")
    if kind not in ("DDPM", "DDIM"):
        raise PolicyError(f"{config.what}: expected DDPM or DDIM, got {shown(kind)}.")
    steps = config["num_inference_steps"]
    return read_schedule(
        config, kind, None if steps is None else config.whole("num_inference_steps")
    )


def _cameras(config: Values) -> CameraConfig:
    backbone = config.text("vision_backbone")
    if backbone not in RESNETS:
        raise PolicyError(
            f"{config.what}: vision_backbone {shown(backbone)}: expected one of "
            f"{', '.join(RESNETS)}."
        )
    # Older versions had no resizing: there the entry is not in the file.
    resize = config.pair("resize_shape") if "resize_shape" in config.value else None
    config.get("crop_ratio")  # of the resized image
    crop = config.pair("crop_shape")
    if resize is not None:
        share = config.number("crop_ratio")
        crop = (int(resize[0] * share), int(resize[1] * share)) if share < 1 else None
    return CameraConfig(
        backbone,
        config.flag("use_group_norm"),
        config.whole("spatial_softmax_num_keypoints"),
        resize,
        crop,
        not config.flag("use_separate_rgb_encoder_per_camera"),
    )


def _features(
    folder: Path, config: Values, tensors: Mapping[str, Tensor]
) -> tuple[list[Feature], Feature]:
    """Inputs in the order of the network's condition, and the action."""
    sources = {name: folder / file for name, file in PROCESSORS.items()}
    modern = any(path.exists() for path in sources.values())
    found: list[tuple[str, Feature]] = []
    for group, key in (("observations", "input_features"), ("actions", "output_features")):
        listed = Values(config[key], f"{config.what}, {key}")
        entries = {
            name: Values(item, f"{listed.what}.{name}") for name, item in listed.value.items()
        }
        if modern:
            types = {name: entry.text("type") for name, entry in entries.items()}
            norm_map, statistics = read_processor(sources[group], types)
        else:
            norm_map = config.texts("normalization_mapping")
            statistics = _legacy(
                tensors, "normalize_inputs" if group == "observations" else "unnormalize_outputs"
            )
        for name, entry in entries.items():
            kind, shape = entry.text("type"), entry.wholes("shape")
            entry.require_all_read()
            mode = norm_map.get(kind, "IDENTITY")
            known = statistics.get(name if modern else name.replace(".", "_"), {})
            try:
                feature = feature_of(name, kind, shape, mode, known)
            except PolicyError as cause:
                raise PolicyError(f"{folder}: {cause}") from None
            if not modern and mode == "MIN_MAX":
                feature = replace(feature, mode="min_max_eps")
            found.append((kind, feature))
    if unknown := [kind for kind, _ in found if kind not in (*_ORDER, "ACTION")]:
        raise PolicyError(
            f"{config.what}: a feature of type {shown(unknown[0])} can't be imported."
        )
    actions = [feature for kind, feature in found if kind == "ACTION"]
    if len(actions) != 1:
        raise PolicyError(f"{config.what}: expected one action, got {len(actions)}.")
    return [f for kind in _ORDER for k, f in found if k == kind], actions[0]


def _legacy(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Statistics]:
    """Buffers `<prefix>.buffer_<feature>.<statistic>`, the feature's dots as underscores."""
    statistics: dict[str, Statistics] = {}
    start = f"{prefix}.buffer_"
    for key, tensor in tensors.items():
        if key.startswith(start):
            feature, _, name = key[len(start) :].rpartition(".")
            statistics.setdefault(feature, {})[name] = finite_numbers(tensor)
    return statistics
