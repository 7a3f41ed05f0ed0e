"""Import LeRobot's DiffusionPolicy: a `pretrained_model` folder of JSON and safetensors.

Every value is the file's own, never a default: those have changed between versions. Normalisation
is in processor files, or, in older checkpoints, in buffers among the weights. A processor step that
names a Python class would import it: refused, as is any step that is not listed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_file
from ofp_edge.imports.fields import Feature, Times, Wanted, resolve
from ofp_edge.imports.record import Imported, config_of
from ofp_edge.imports.spec_file import small_json
from ofp_edge.imports.values import Values, numbers
from ofp_edge.imports.weights import built, from_lerobot
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.imported.denoiser import DenoiserConfig
from ofp_edge.policy.imported.images import RESNETS, CameraConfig
from ofp_edge.policy.imported.schedule import ScheduleConfig
from ofp_edge.policy.weights import read_tensors
from ofp_edge.strict import shown

CONFIG, MODEL = "config.json", "model.safetensors"
PROCESSORS = {"observations": "policy_preprocessor.json", "actions": "policy_postprocessor.json"}
_STEPS = {
    "rename_observations_processor", "to_batch_processor", "device_processor",
    "normalizer_processor", "unnormalizer_processor",
}  # fmt: skip
_MODES = {
    "MEAN_STD": "mean_std", "MIN_MAX": "min_max", "QUANTILES": "quantiles",
    "QUANTILE10": "quantiles", "IDENTITY": "identity",
}  # fmt: skip
_ENDS = {"QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
_ORDER = ("STATE", "VISUAL", "ENV")
Statistics = dict[str, tuple[float, ...]]


def import_lerobot(folder: Path, wanted: Wanted) -> Imported:
    """Import it. PolicyError, SpecMismatch: a value or tensor is missing, refused or unfit."""
    config = Values(small_json(folder / CONFIG), str(folder / CONFIG))
    kind = config["type"]
    if kind != "diffusion":
        raise PolicyError(
            f"{folder}: a policy of type {shown(kind)} can't be imported, only 'diffusion' can. "
            "Export its network as a program: import --exported."
        )
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
        scale_modulation=bool(config["use_film_scale_modulation"]),
        cameras=_cameras(config) if any(f.image for f in features) else None,
        schedule=_schedule(config),
        normalization=fields.modes,
    )
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
    predicts = config.text("prediction_type")
    if kind not in ("DDPM", "DDIM") or predicts not in ("epsilon", "sample"):
        raise PolicyError(
            f"{config.what}: expected DDPM or DDIM that predicts epsilon or sample, got "
            f"{shown(kind)}, {shown(predicts)}."
        )
    train = config.whole("num_train_timesteps")
    steps = train if config["num_inference_steps"] is None else config.whole("num_inference_steps")
    return ScheduleConfig(
        scheduler=kind,
        train_steps=train,
        beta_schedule=str(config["beta_schedule"]),
        beta_start=config.number("beta_start"),
        beta_end=config.number("beta_end"),
        predicts=predicts,
        clip=config.number("clip_sample_range") if config["clip_sample"] else None,
        steps=steps,
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
    crop = config.pair("crop_shape")
    if resize is not None:
        share = config.number("crop_ratio")
        crop = (int(resize[0] * share), int(resize[1] * share)) if share < 1 else None
    return CameraConfig(
        backbone,
        bool(config["use_group_norm"]),
        config.whole("spatial_softmax_num_keypoints"),
        resize,
        crop,
        not config["use_separate_rgb_encoder_per_camera"],
    )


def _features(
    folder: Path, config: Values, tensors: Mapping[str, Tensor]
) -> tuple[list[Feature], Feature]:
    """Inputs in the order of the network's condition, and the action."""
    sources = {name: folder / file for name, file in PROCESSORS.items()}
    modern = any(path.exists() for path in sources.values())
    found: list[tuple[str, Feature]] = []
    for group, key in (("observations", "input_features"), ("actions", "output_features")):
        if modern:
            norm_map, statistics = _processor(sources[group])
        else:
            norm_map = config.texts("normalization_mapping")
            statistics = _legacy(
                tensors, "normalize_inputs" if group == "observations" else "unnormalize_outputs"
            )
        for name, item in Values(config[key], f"{config.what}, {key}").value.items():
            entry = Values(item, f"{config.what}, {key}.{name}")
            kind, shape = entry.text("type"), entry.wholes("shape")
            mode = norm_map.get(kind, "IDENTITY")
            if mode not in _MODES:
                raise PolicyError(
                    f"{config.what}: normalisation {shown(mode)} of {shown(name)} is unknown."
                )
            known = dict(statistics.get(name if modern else name.replace(".", "_"), {}))
            if mode in _ENDS:
                known["min"], known["max"] = (known.get(x, ()) for x in _ENDS[mode])
            stats = _statistics(known, _MODES[mode], shape[0])
            if stats is None:
                raise PolicyError(
                    f"{folder}: the statistics of {shown(name)} that {mode} needs are missing. "
                    "Save the policy with its dataset's statistics."
                )
            own = _MODES[mode] if modern or mode != "MIN_MAX" else "min_max_eps"
            found.append((kind, Feature(name, kind == "VISUAL", shape, stats, own)))
    if unknown := [kind for kind, _ in found if kind not in (*_ORDER, "ACTION")]:
        raise PolicyError(
            f"{config.what}: a feature of type {shown(unknown[0])} can't be imported."
        )
    actions = [feature for kind, feature in found if kind == "ACTION"]
    if len(actions) != 1:
        raise PolicyError(f"{config.what}: expected one action, got {len(actions)}.")
    return [f for kind in _ORDER for k, f in found if k == kind], actions[0]


def _processor(path: Path) -> tuple[dict[str, str], dict[str, Statistics]]:
    """The modes by feature type and the statistics by feature, of the one (un)normalising step."""
    found = []
    for entry in Values(small_json(path), str(path)).entries("steps"):
        if "class" in entry.value:
            raise PolicyError(
                f"{path}: a step names the class {shown(entry['class'])}, which would be "
                "imported and run: refused. Only LeRobot's registered steps are read."
            )
        name = entry.text("registry_name")
        if name not in _STEPS:
            raise PolicyError(
                f"{path}: step {shown(name)} can't be imported. Known: {sorted(_STEPS)}."
            )
        if Values(entry.value.get("config", {}), entry.what).value.get("rename_map"):
            raise PolicyError(f"{path}: a step renames observations: save it without.")
        if name.endswith("normalizer_processor"):
            found.append(entry)
    if len(found) != 1:
        raise PolicyError(f"{path}: expected one step that normalises, got {len(found)}.")
    options = Values(found[0]["config"], str(path))
    if options["eps"] != 1e-8 or options.value.get("normalize_observation_keys"):
        raise PolicyError(f"{path}: its normaliser has options of its own that are not read.")
    file = str(found[0].value.get("state_file", ""))
    plain = file.isprintable() and 0 < len(file) < 200 and "/" not in file
    if not plain or not (path.parent / file).exists():
        got = shown(file) if file else "no state_file"
        raise PolicyError(f"{path}: the statistics of its normaliser are missing ({got}).")
    statistics: dict[str, Statistics] = {}
    for key, tensor in read_tensors(path.parent / file).items():
        feature, _, name = key.rpartition(".")
        statistics.setdefault(feature, {})[name] = _flat(tensor)
    return options.texts("norm_map"), statistics


def _legacy(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Statistics]:
    """Buffers `<prefix>.buffer_<feature>.<statistic>`, the feature's dots as underscores."""
    statistics: dict[str, Statistics] = {}
    start = f"{prefix}.buffer_"
    for key, tensor in tensors.items():
        if key.startswith(start):
            feature, _, name = key[len(start) :].rpartition(".")
            statistics.setdefault(feature, {})[name] = _flat(tensor)
    return statistics


def _flat(tensor: Tensor) -> tuple[float, ...]:
    """Its finite numbers; none where it holds others, as those of a policy that was not trained
    do, or is too large for statistics."""
    try:
        return numbers(tensor, "statistics")
    except PolicyError:
        return ()


def _statistics(
    values: Mapping[str, Sequence[float]], mode: str, size: int
) -> FieldStatistics | None:
    """Statistics as ours; None where those that `mode` needs are missing or not finite.

    Others that are missing follow from these. The low and high quantiles are low and high.
    """
    needs = {"mean_std": ("mean", "std"), "identity": ()}.get(mode, ("min", "max"))
    if any(len(values.get(name, ())) != size for name in needs):
        return None
    values = {name: x for name, x in values.items() if len(x) == size or name == "count"}
    mean, std = values.get("mean"), values.get("std")
    low, high = values.get("min"), values.get("max")
    if mean is None or std is None:
        ends = zip(low or (-1.0,) * size, high or (1.0,) * size, strict=True)
        middle = [((a + b) / 2, (b - a) / 2) for a, b in ends]
        mean, std = [m for m, _ in middle], [s for _, s in middle]
    if low is None or high is None:
        low = [m - s for m, s in zip(mean, std, strict=True)]
        high = [m + s for m, s in zip(mean, std, strict=True)]
    count = int((values.get("count") or (0,))[0])
    return FieldStatistics(tuple(low), tuple(high), tuple(mean), tuple(std), count)
