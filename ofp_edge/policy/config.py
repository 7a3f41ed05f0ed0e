"""PolicyConfig: everything about a policy that is not a weight; strict JSON both ways."""

from __future__ import annotations

import typing
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.spec import PolicySpec

SCHEMA_VERSION = 1
COLD, WARM, REFINE = "cold", "warm", "refine"
T = TypeVar("T")


@dataclass(frozen=True)
class MlpConfig:
    """Residual blocks of `width` over the flat chunk."""

    kind: ClassVar[str] = "mlp"
    width: int
    blocks: int


@dataclass(frozen=True)
class UnetConfig:
    """channels: of each level, the first at the chunk's full length, each next at half of it.

    blocks: residual blocks a level, on the way down and up. kernel: steps that a convolution sees.
    """

    kind: ClassVar[str] = "unet"
    channels: tuple[int, ...]
    blocks: int
    kernel: int


@dataclass(frozen=True)
class TransformerConfig:
    """width: of a token, a multiple of heads. expand: the feed-forward's width over the token's."""

    kind: ClassVar[str] = "transformer"
    width: int
    blocks: int
    heads: int
    expand: int


TrunkConfig = MlpConfig | UnetConfig | TransformerConfig
TRUNKS: dict[str, type[TrunkConfig]] = {
    kind.kind: kind for kind in (MlpConfig, UnetConfig, TransformerConfig)
}


@dataclass(frozen=True)
class RgbConfig:
    """ResNet of basic blocks and a spatial softmax.

    channels, blocks: of each layer; the stem has the first layer's channels. keypoints: places that
    the softmax tells. features: length of one image's feature. shared: one set of weights for all
    cameras, or one a camera.
    """

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    keypoints: int
    features: int
    shared: bool


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    point_channels: outputs of the shared point layers. point_features: length of one cloud's
    feature. condition: length of the vector that modulates the trunk. time_features: sines and
    cosines of (t, r), a multiple of 4. trunk: its kind and sizes. rgb: sizes of the image encoder;
    None takes no images.
    """

    point_channels: tuple[int, ...]
    point_features: int
    condition: int
    time_features: int
    trunk: TrunkConfig
    rgb: RgbConfig | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` is the inverse."""
        return {**asdict(self), "trunk": {"kind": self.trunk.kind, **asdict(self.trunk)}}

    @staticmethod
    def from_json(value: Any) -> NetworkConfig:
        """Raises PolicyError. Without "trunk", "width" and "blocks" are those of an MLP, and
        without "rgb" there is none: the forms written before there were others."""
        if isinstance(value, dict) and "trunk" not in value:
            mlp = {key: value[key] for key in ("width", "blocks") if key in value}
            rest = {key: item for key, item in value.items() if key not in mlp}
            value = {**rest, "trunk": {"kind": MlpConfig.kind, **mlp}}
        if isinstance(value, dict):
            value = {"rgb": None, **value}
        trunk = _checked(NetworkConfig, value, "config.network")["trunk"]
        kind = trunk.get("kind") if isinstance(trunk, dict) else None
        if kind not in tuple(TRUNKS):
            raise PolicyError(
                f"config.network.trunk.kind: expected one of {', '.join(TRUNKS)}, got {kind!r}."
            )
        sizes = _sizes(
            TRUNKS[kind],
            {key: item for key, item in trunk.items() if key != "kind"},
            "config.network.trunk",
        )
        rgb = value["rgb"]
        if rgb is not None:
            rgb = _sizes(RgbConfig, rgb, "config.network.rgb")
            if len(rgb.channels) != len(rgb.blocks):
                raise PolicyError(
                    f"config.network.rgb.blocks: expected one number for each of "
                    f"{len(rgb.channels)} channels, got {len(rgb.blocks)}."
                )
        flat = {key: item for key, item in value.items() if key not in ("trunk", "rgb")}
        return flat_from_json(NetworkConfig, flat, "config.network", trunk=sizes, rgb=rgb)


@dataclass(frozen=True)
class TrainingConfig:
    """What the optimiser does; jitter_m and shift_m are point-cloud augmentations in metres.

    jitter_m: standard deviation of independent noise on every point. shift_m: the largest common
    displacement of cloud and hand, along x and along y. train_points: points of each cloud that a
    step sees, a random subset (cheaper, and the policy learns to miss some); 0: all of them.
    shift_px: the largest displacement of an image, along each axis, pixels.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    gradient_clip: float
    ema_decay: float
    jitter_m: float
    shift_m: float
    train_points: int
    shift_px: int = 0


@dataclass(frozen=True)
class TrainingRecord:
    """Where the weights come from. `step` counts optimiser steps done, of `settings.steps`.

    held_out: episodes never trained on, under `split_rule`; calibration samples come from the
    others. init_sha256: the policy whose weights training started from, if any;
    rgb_weights_sha256: the file of ResNet weights.
    """

    settings: TrainingConfig
    seed: int
    step: int
    dataset: str
    dataset_sha256: str
    split_rule: str
    held_out: tuple[int, ...]
    init_sha256: str | None = None
    rgb_weights_sha256: str | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyConfig:
    """config.json of a policy folder.

    time_rows: the shipped (t, r) pairs, by name: cold (0, 1), warm (t_w, 1), refine (t2, 1).
    method_options: the method's own numbers (loss weights, time laws), all of them. refine: whether
    a chunk takes the refining evaluation where nothing else is asked for. plan_sha256: of the
    quantization.json that belongs to it; a float policy has none.
    """

    method: str
    method_options: dict[str, float]
    preset: str
    network: NetworkConfig
    spec: PolicySpec
    task: str | None
    cameras: dict[str, CameraParameters]
    camera_tolerance: CameraTolerance
    time_rows: tuple[tuple[str, float, float], ...]
    training: TrainingRecord
    refine: bool = False
    plan_sha256: str | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def t_w(self) -> float:
        """The time at which a warm start enters the flow, 0..1."""
        return next(t for name, t, _ in self.time_rows if name == WARM)

    @property
    def t_refine(self) -> float | None:
        """The time of the refining evaluation, where one is the default."""
        times = (t for name, t, _ in self.time_rows if name == REFINE)
        return next(times) if self.refine else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` is the inverse."""
        return {
            **asdict(self),
            "network": self.network.to_json(),
            "spec": self.spec.to_json(),
            "cameras": {name: camera.to_json() for name, camera in self.cameras.items()},
            "camera_tolerance": self.camera_tolerance.to_json(),
            "time_rows": [list(row) for row in self.time_rows],
        }

    @staticmethod
    def from_json(value: Any) -> PolicyConfig:
        """Raises PolicyError naming the entry that is missing, unknown or of another type."""
        version = value.get("schema_version") if isinstance(value, dict) else None
        if version != SCHEMA_VERSION:
            raise PolicyError(
                f"policy schema version {version}, this ofp-edge reads {SCHEMA_VERSION}."
            )
        try:
            value = {"refine": False, "plan_sha256": None, **value}  # folders of before
            parts = dict(_checked(PolicyConfig, value, "config"))
            parts["spec"] = PolicySpec.from_json(value["spec"])
            parts["cameras"] = {
                name: CameraParameters.from_json(item) for name, item in value["cameras"].items()
            }
            parts["camera_tolerance"] = flat_from_json(
                CameraTolerance, value["camera_tolerance"], "config.camera_tolerance"
            )
            parts["network"] = NetworkConfig.from_json(value["network"])
            # The forms written before there were images.
            record = {"rgb_weights_sha256": None, **value["training"]}
            record = dict(_checked(TrainingRecord, record, "config.training"))
            record["settings"] = flat_from_json(
                TrainingConfig, {"shift_px": 0, **record["settings"]}, "config.training.settings"
            )
            parts["training"] = TrainingRecord(**{**record, "held_out": tuple(record["held_out"])})
            parts["time_rows"] = tuple(
                (str(n), float(t), float(r)) for n, t, r in value["time_rows"]
            )
            config = PolicyConfig(**parts)
        except (AttributeError, TypeError, ValueError) as cause:
            raise PolicyError(f"config: an entry has another form than expected: {cause}") from None
        except SpecMismatch as cause:
            raise PolicyError(f"config: {cause}") from None
        if {COLD, WARM} - {name for name, _, _ in config.time_rows}:
            raise PolicyError("config.time_rows: expected at least cold and warm.")
        if not isinstance(config.plan_sha256, (str, type(None))):
            raise PolicyError(f"config.plan_sha256: expected a hash, got {config.plan_sha256!r}.")
        if not isinstance(config.refine, bool):
            raise PolicyError(f"config.refine: expected true or false, got {config.refine!r}.")
        if config.refine and REFINE not in {name for name, _, _ in config.time_rows}:
            raise PolicyError("config.refine: there is no time row 'refine'.")
        return config


def flat_from_json(kind: type[T], value: Any, what: str, **built: Any) -> T:
    """A dataclass of numbers and tuples of numbers; strict about keys and types.

    built: entries that are no such thing, ready made and not in `value`.
    """
    if isinstance(value, dict):
        value = {**value, **built}
    checked = _checked(kind, value, what)
    hints = typing.get_type_hints(kind)
    values = dict(built)
    for key, item in checked.items():
        if key in built:
            continue
        hint = hints[key]
        if hint in (int, float, bool):
            allowed = (int, float) if hint is float else (hint,)
            if type(item) not in allowed:
                raise PolicyError(f"{what}.{key}: expected {hint.__name__}, got {item!r}.")
            values[key] = hint(item)
        else:
            whole = isinstance(item, list) and all(type(number) is int for number in item)
            if not whole or not item:
                raise PolicyError(f"{what}.{key}: expected a list of whole numbers, got {item!r}.")
            values[key] = tuple(item)
    return kind(**values)


def _sizes(kind: type[T], value: Any, what: str) -> T:
    """`flat_from_json` for sizes of a network: every number at least 1."""
    sizes = flat_from_json(kind, value, what)
    for key, item in vars(sizes).items():
        if min(item if isinstance(item, tuple) else (item,)) < 1 and item is not False:
            raise PolicyError(f"{what}.{key}: expected at least 1, got {item}.")
    return sizes


def _checked(kind: type[Any], value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError(f"{what}: expected an object, got {type(value).__name__}.")
    known = {entry.name for entry in fields(kind)}
    if missing := sorted(known - set(value)):
        raise PolicyError(f"{what}.{missing[0]}: missing entry.")
    if unknown := sorted(set(value) - known):
        raise PolicyError(f"{what}.{unknown[0]}: unknown entry.")
    return value
