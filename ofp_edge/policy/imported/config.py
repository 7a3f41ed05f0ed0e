"""The sizes of imported networks as data; strict JSON both ways, as `NetworkConfig`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from ofp_edge.errors import PolicyError
from ofp_edge.policy.network_config import NetworkConfig, read_sizes
from ofp_edge.strict import read_as, shown

NORMALIZATIONS = (
    "identity", "mean_std", "min_max", "min_max_eps", "quantiles", "scale_offset",
)  # fmt: skip
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
PREDICTS = ("average", "velocity")


@dataclass(frozen=True)
class ProgramFile:
    """A file of the policy folder and its hash, checked before it is opened."""

    file: str
    sha256: str


@dataclass(frozen=True)
class ProgramConfig:
    """A network that came as a program. form: exported (torch.export) or onnx. predicts: average,
    u(z, t, r, observations), or velocity, v(z, t, observations). encoder: None is the identity."""

    kind: ClassVar[str] = "program"
    form: Literal["exported", "onnx"]
    predicts: str
    program: ProgramFile
    encoder: ProgramFile | None
    feature_dim: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `network_from_json` is the inverse."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class CameraConfig:
    """Diffusion Policy's image encoder, one a camera or shared. resize, crop: (H, W) or None."""

    backbone: str
    group_norm: bool
    keypoints: int
    resize: tuple[int, int] | None
    crop: tuple[int, int] | None
    shared: bool


@dataclass(frozen=True)
class ScheduleConfig:
    """Noise over the steps of training, and how a chunk is sampled: diffusers' own names.

    predicts: epsilon or sample. steps: network evaluations a chunk. clip: None does not clip.
    """

    scheduler: str
    train_steps: int
    beta_schedule: str
    beta_start: float
    beta_end: float
    predicts: str
    clip: float | None
    steps: int


@dataclass(frozen=True)
class DenoiserConfig:
    """Diffusion Policy's conditional U-Net (Chi et al., RSS 2023) and what feeds it.

    normalization: by field, one of NORMALIZATIONS. average: False denoises, step by step; True is
    the same network turned into u(z, t, r), which `distill` trains.
    """

    kind: ClassVar[str] = "denoiser"
    channels: tuple[int, ...]
    kernel: int
    groups: int
    step_features: int
    scale_modulation: bool
    cameras: CameraConfig | None
    schedule: ScheduleConfig
    normalization: dict[str, str]
    average: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `network_from_json` is the inverse."""
        return {"kind": self.kind, **asdict(self)}


AnyNetwork = NetworkConfig | ProgramConfig | DenoiserConfig


def network_from_json(value: Any) -> AnyNetwork:
    """Raises PolicyError naming the entry. Ours has no "kind"."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind is None:
        return NetworkConfig.from_json(value)
    rest = {key: item for key, item in value.items() if key != "kind"}
    if kind == ProgramConfig.kind:
        return _program(rest)
    if kind == DenoiserConfig.kind:
        return _denoiser(rest)
    raise PolicyError(f"config.network.kind: expected program or denoiser, got {shown(kind)}.")


def kind_of(network: AnyNetwork) -> str:
    """What makes the chunk: a trunk of ours, a program or a denoiser."""
    return network.trunk.kind if isinstance(network, NetworkConfig) else network.kind


def _program(value: dict[str, Any]) -> ProgramConfig:
    what = "config.network"
    made = read_as(ProgramConfig, value, "", PolicyError, what)
    _one_of(f"{what}.predicts", made.predicts, PREDICTS)
    for name, entry in (("program", made.program), ("encoder", made.encoder)):
        if entry is not None and ("/" in entry.file or entry.file.startswith(".")):
            raise PolicyError(
                f"{what}.{name}.file: expected a plain file name, got {shown(entry.file)}."
            )
    if made.feature_dim < 1:
        raise PolicyError(f"{what}.feature_dim: expected at least 1, got {made.feature_dim}.")
    return made


def _denoiser(value: dict[str, Any]) -> DenoiserConfig:
    what = "config.network"
    cameras = value.get("cameras")
    if cameras is not None:
        cameras = read_sizes(CameraConfig, cameras, f"{what}.cameras")
        _one_of(f"{what}.cameras.backbone", cameras.backbone, RESNETS)
    schedule = read_sizes(ScheduleConfig, value.get("schedule"), f"{what}.schedule")
    _one_of(f"{what}.schedule.scheduler", schedule.scheduler, ("DDPM", "DDIM"))
    _one_of(f"{what}.schedule.predicts", schedule.predicts, ("epsilon", "sample"))
    made = read_sizes(DenoiserConfig, value, what, cameras=cameras, schedule=schedule)
    for name, mode in made.normalization.items():
        _one_of(f"{what}.normalization.{shown(name)[1:-1]}", mode, NORMALIZATIONS)
    return made


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise PolicyError(f"{what}: expected one of {', '.join(known)}, got {shown(value)}.")
