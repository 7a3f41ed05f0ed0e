"""LeRobot's DiffusionPolicy: a U-Net that denoises a chunk, with its image encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_file
from ofp_edge.imports.fields import Times, Wanted, resolve
from ofp_edge.imports.lerobot_features import (
    ENVIRONMENT,
    NO_EFFECT,
    STATE,
    VISUAL,
    read_features,
)
from ofp_edge.imports.noise import read_schedule
from ofp_edge.imports.record import Imported, config_of
from ofp_edge.imports.values import Values
from ofp_edge.imports.weights import built, from_lerobot, require_rungs
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.imported.denoise import Denoise
from ofp_edge.policy.imported.denoiser import DenoiserConfig
from ofp_edge.policy.imported.images import RESNETS, CameraConfig
from ofp_edge.policy.imported.schedule import ScheduleConfig
from ofp_edge.strict import shown

_NO_EFFECT = (
    *NO_EFFECT, "drop_n_last_frames", "crop_is_random", "gradient_checkpointing", "compile_model",
    "compile_mode", "do_mask_loss_for_padding", "optimizer_betas", "optimizer_eps",
    "scheduler_name", "scheduler_warmup_steps",
)  # fmt: skip
_OF_CAMERAS = (
    "vision_backbone", "resize_shape", "crop_ratio", "crop_shape", "use_group_norm",
    "spatial_softmax_num_keypoints", "use_separate_rgb_encoder_per_camera",
)  # fmt: skip


def import_diffusion(
    weights: Path, config: Values, tensors: Mapping[str, Tensor], wanted: Wanted
) -> Imported:
    """Import it from its opened files. PolicyError, SpecMismatch."""
    features = read_features(weights.parent, config, tensors, (STATE, VISUAL, ENVIRONMENT))
    steps = config.whole("n_obs_steps")
    times = Times(
        steps, config.whole("horizon"), wanted.acted(config.whole("n_action_steps")), steps - 1
    )
    fields = resolve(wanted, features.inputs, features.action, times)
    network_config = DenoiserConfig(
        channels=config.wholes("down_dims"),
        kernel=config.whole("kernel_size"),
        groups=config.whole("n_groups"),
        step_features=config.whole("diffusion_step_embed_dim"),
        scale_modulation=config.flag("use_film_scale_modulation"),
        cameras=_cameras(config) if features.sizes(VISUAL) else None,
        schedule=_schedule(config),
        normalization=fields.modes,
    )
    config.require("use_peft", False)
    config.require_all_read(_NO_EFFECT if network_config.cameras else (*_NO_EFFECT, *_OF_CAMERAS))
    require_rungs(network_config.schedule, str(weights))
    network = built(network_config, fields, from_lerobot(tensors), str(weights))
    policy_config = config_of(
        network_config,
        fields.spec,
        fields.cameras,
        Denoise.name,
        fields.task,
        "lerobot",
        sha256_file(weights),
    )
    about = {"type": "diffusion", "start_index": times.start_index, "tensors": len(tensors)}
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
