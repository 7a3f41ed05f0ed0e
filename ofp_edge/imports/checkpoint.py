"""Import a .ckpt of the diffusion_policy repository: U-Net policies on low-dimensional states.

The file is read as data (unpickle.py); `cfg` becomes a plain dictionary. Policies of the same
repository and of DP3 that see images or points have encoders of their own making, which are not
read: refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_file
from ofp_edge.imports.fields import Feature, Times, Wanted, resolve
from ofp_edge.imports.noise import read_schedule
from ofp_edge.imports.record import Imported, config_of
from ofp_edge.imports.unpickle import Record, read_checkpoint
from ofp_edge.imports.values import Values, numbers
from ofp_edge.imports.weights import built, from_diffusion_policy, require_rungs
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.imported.denoiser import DenoiserConfig
from ofp_edge.policy.imported.schedule import ScheduleConfig
from ofp_edge.strict import DEEPEST, shown

_POLICY, _UNET = "DiffusionUnetLowdimPolicy", "ConditionalUnet1D"
_ONLY = {
    "obs_as_local_cond": False, "pred_action_steps_only": False, "eta": 0.0,
    "use_clipped_model_output": False,
}  # fmt: skip
# Sizes that the weights have too, and are held to.
_FOLLOW = ("obs_dim", "action_dim", "input_dim", "local_cond_dim", "global_cond_dim")
_REFERENCE = re.compile(r"\$\{([a-z_0-9.]+)\}", re.IGNORECASE)
_NUMBER = r"\s*[0-9]{1,18}\s*"
_SUM = re.compile(rf"\$\{{eval:\s*'?({_NUMBER}(?:\+{_NUMBER})*)'?\}}")
_MOST_CHARACTERS = 4 << 20  # of a configuration, its references looked up


def import_checkpoint(path: Path, wanted: Wanted) -> Imported:
    """Import the file. Raises PolicyError, SpecMismatch."""
    payload = read_checkpoint(path)
    whole = Values(payload, str(path))
    cfg = plain_config(whole["cfg"], str(path))
    policy = Values(cfg["policy"], f"{path}, cfg.policy")
    kind = str(policy["_target_"]).rpartition(".")[2]
    if kind != _POLICY:
        raise PolicyError(
            f"{path}: a policy of class {shown(kind)[1:-1]} can't be imported, only {_POLICY} can. "
            "Its tensors and cfg were read without running anything; export its network as a "
            "program."
        )
    for name, only in _ONLY.items():
        policy.require(name, only)
    if not policy.flag("obs_as_global_cond"):
        raise PolicyError(f"{path}: expected obs_as_global_cond true.")
    states = Values(whole["state_dicts"], f"{path}, state_dicts")
    averaged = Values(cfg["training"], f"{path}, cfg.training").flag("use_ema")
    tensors = states["ema_model" if averaged else "model"]
    if not isinstance(tensors, dict) or not all(isinstance(x, Tensor) for x in tensors.values()):
        raise PolicyError(f"{path}: state_dicts: expected tensors by name.")
    observed = _feature(tensors, "obs", "state", path)
    action = _feature(tensors, "action", "action", path)
    steps = policy.whole("n_obs_steps")
    start = steps - 1 if policy.flag("oa_step_convention") else steps
    times = Times(
        steps, policy.whole("horizon"), wanted.acted(policy.whole("n_action_steps")), start
    )
    fields = resolve(wanted, [observed], action, times)
    model = Values(policy["model"], f"{path}, cfg.policy.model")
    unet = str(model["_target_"]).rpartition(".")[2]
    if unet != _UNET:
        raise PolicyError(f"{model.what}: {shown(unet)[1:-1]} can't be imported, only {_UNET} can.")
    network_config = DenoiserConfig(
        channels=model.wholes("down_dims"),
        kernel=model.whole("kernel_size"),
        groups=model.whole("n_groups"),
        step_features=model.whole("diffusion_step_embed_dim"),
        scale_modulation=model.flag("cond_predict_scale"),
        cameras=None,
        schedule=_schedule(policy, str(path)),
        normalization=fields.modes,
    )
    model.require_all_read(_FOLLOW)
    policy.require_all_read(_FOLLOW)
    require_rungs(network_config.schedule, str(path))
    network = built(network_config, fields, from_diffusion_policy(tensors), str(path))
    config = config_of(
        network_config,
        fields.spec,
        fields.cameras,
        "diffusion",
        fields.task,
        "diffusion_policy",
        sha256_file(path),
    )
    about = {"type": kind, "start_index": start, "averaged_weights": averaged}
    made = Policy(config, network.eval(), fields.statistics)
    return Imported(made, "diffusion_policy checkpoint", {}, about)


def plain_config(cfg: Any, what: str) -> dict[str, Any]:
    """Return OmegaConf's objects, already inert, as dictionaries and lists; look up references."""
    reader = _Plain(f"{what}, cfg")
    plain = reader.plain(cfg, 0)
    if not isinstance(plain, dict):
        raise PolicyError(f"{what}: cfg: expected a configuration, got {type(cfg).__name__}.")
    return {key: reader.resolved(item, plain, 0) for key, item in plain.items()}


class _Plain:
    """References make a tree of what is held once, and texts of texts: both as far as a limit."""

    def __init__(self, what: str) -> None:
        self._what, self._left = what, _MOST_CHARACTERS

    def _spend(self, size: int, depth: int) -> None:
        self._left -= size
        if self._left < 0 or depth > DEEPEST:
            raise PolicyError(f"{self._what}: it grows without end when it is read: refused.")

    def plain(self, value: Any, depth: int) -> Any:
        """Records as what they hold."""
        self._spend(len(value) if isinstance(value, str) else 1, depth)
        if isinstance(value, Record):
            return self.plain(value.get("_content", value.get("_val")), depth + 1)
        if isinstance(value, dict):
            return {str(key): self.plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item, depth + 1) for item in value]
        return value

    def resolved(self, value: Any, root: Mapping[str, Any], depth: int) -> Any:
        """`${a.b}` by its place, and sums of whole numbers; what else is computed stays a text."""
        self._spend(len(value) if isinstance(value, str) else 1, 0)
        if isinstance(value, dict):
            return {key: self.resolved(item, root, depth) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolved(item, root, depth) for item in value]
        if not isinstance(value, str) or "${" not in value or depth > 8:
            return value

        def found(path: str) -> Any:
            item: Any = root
            for part in path.split("."):
                item = item.get(part) if isinstance(item, dict) else None
            return self.resolved(item, root, depth + 1)

        if alone := _REFERENCE.fullmatch(value):
            return found(alone[1])
        text = _REFERENCE.sub(lambda m: str(found(m[1])), value)
        self._spend(len(text), 0)
        if total := _SUM.fullmatch(text):
            return sum(int(x) for x in total[1].split("+"))
        return text


def _schedule(policy: Values, what: str) -> ScheduleConfig:
    values = Values(policy["noise_scheduler"], f"{what}, cfg.policy.noise_scheduler")
    name = str(values["_target_"]).rpartition(".")[2]
    kinds = {"DDPMScheduler": "DDPM", "DDIMScheduler": "DDIM"}
    if name not in kinds:
        raise PolicyError(f"{values.what}: {shown(name)[1:-1]} can't be imported.")
    steps = policy.get("num_inference_steps")
    read = read_schedule(
        values, kinds[name], None if steps is None else policy.whole("num_inference_steps")
    )
    values.require_all_read()
    return read


def _feature(tensors: Mapping[str, Any], field: str, key: str, path: Path) -> Feature:
    start = f"normalizer.params_dict.{field}"
    found: dict[str, tuple[float, ...]] = {}
    for name in ("scale", "offset", "input_stats.min", "input_stats.max"):
        if f"{start}.{name}" not in tensors:
            raise PolicyError(f"{path}: the normaliser's {field}.{name} is missing.")
        found[name] = numbers(tensors[f"{start}.{name}"], f"{path}, {start}.{name}")
    size = len(found["scale"])
    statistics = FieldStatistics(
        found["input_stats.min"], found["input_stats.max"], found["offset"], found["scale"], 0
    )
    if any(len(x) != size for x in found.values()) or not all(found["scale"]):
        raise PolicyError(f"{path}: the normaliser of {field}: expected {size} numbers each.")
    return Feature(key, False, (size,), statistics, "scale_offset")
