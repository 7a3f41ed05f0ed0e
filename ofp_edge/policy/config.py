"""PolicyConfig holds everything about a policy but its weights, as strict JSON both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import PolicyError
from ofp_edge.files import canonical_json, sha256_bytes
from ofp_edge.policy.imported.act import ActConfig
from ofp_edge.policy.imported.denoiser import DenoiserConfig
from ofp_edge.policy.imported.program_config import ProgramConfig
from ofp_edge.policy.kind import Network
from ofp_edge.policy.network_config import NetworkConfig
from ofp_edge.policy.vla.kinds import Pi05Config, SmolVlaConfig
from ofp_edge.spec import PolicySpec
from ofp_edge.start import Start, way_of
from ofp_edge.strict import read_as, shown

SCHEMA_VERSION = 1
COLD, WARM, REFINE = "cold", "warm", "refine"
NETWORKS: tuple[type[Network], ...] = (
    NetworkConfig,
    ProgramConfig,
    DenoiserConfig,
    ActConfig,
    SmolVlaConfig,
    Pi05Config,
)


@dataclass(frozen=True)
class TrainingConfig:
    """The optimiser's settings; jitter_m and shift_m augment point clouds and are in metres.

    jitter_m: standard deviation of independent noise on every point. shift_m: the largest common
    displacement of cloud and hand, along x and along y. train_points: points of each cloud that a
    step sees, a random subset (cheaper, and the policy learns to miss some); 0: all of them.
    shift_px: the largest displacement of an image, along each axis, pixels. draws: how often a step
    draws noise and times for each window, which it encodes once; losses are means over all.
    color_jitter: how much the light of images changes, see train/augment.py; 0: not at all.
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
    draws: int = 1
    color_jitter: float = 0.0


@dataclass(frozen=True)
class Share:
    """One dataset of a mixture: how much of the windows was drawn from it, and which of its own
    episodes were held out."""

    dataset: str
    dataset_sha256: str
    share: float
    held_out: tuple[int, ...]


@dataclass(frozen=True)
class TrainingRecord:
    """Records where the weights come from. `step` counts optimiser steps done, of `settings.steps`.

    held_out: episodes never trained on, under `split_rule`; calibration samples come from the
    others. init_sha256: the policy whose weights training started from, if any;
    rgb_weights_sha256: the file of ResNet weights. cloud_shift: whether clouds are moved sideways
    and why, in a line, None without clouds and in folders of before. precision: of the matrix
    products, on the last device that it was trained on. mixture: the datasets, where there were
    several; `held_out` then counts through all of them.
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
    cloud_shift: str | None = None
    precision: str = "float32"
    mixture: tuple[Share, ...] = ()

    def held_out_of(self, sha256: str) -> tuple[int, ...] | None:
        """Return a dataset's episodes that were held out; None where it was not trained on."""
        if sha256 == self.dataset_sha256:
            return self.held_out
        return next((x.held_out for x in self.mixture if x.dataset_sha256 == sha256), None)

    def sha256_of(self, datasets: Sequence[str]) -> str:
        """Return the hash by which datasets of these hashes are known, of one its own: those that
        it was trained on, in their order, by `dataset_sha256`."""
        if len(datasets) == 1:
            return datasets[0]
        if list(datasets) == [x.dataset_sha256 for x in self.mixture]:
            return self.dataset_sha256
        return sha256_bytes(canonical_json(list(datasets)))


@dataclass(frozen=True)
class PolicyConfig:
    """Describes a policy: config.json of its folder.

    time_rows: the shipped (t, r) pairs, by name: cold (0, 1), warm (t_w, 1), or (t_w, t_w) by the
    velocity, to the mean, refine (t2, 1); a deterministic policy has none. method_options: the
    method's own numbers (loss weights, time laws), all of them; imported policies have none.
    refine: whether a chunk takes the refining evaluation by default. plan_sha256: the hash of the
    quantization.json that belongs to it; a float policy has none.
    start: the noise of cold and warm starts, and a cold chunk's evaluations; folders of before draw
    as much as training. files: SHA-256 of the weights and of the policy's other files, by name;
    older folders have none.
    """

    method: str
    method_options: dict[str, float]
    preset: str
    network: Network
    spec: PolicySpec
    task: str | None
    cameras: dict[str, CameraParameters]
    camera_tolerance: CameraTolerance
    time_rows: tuple[tuple[str, float, float], ...]
    training: TrainingRecord
    refine: bool = False
    plan_sha256: str | None = None
    start: Start = Start()
    files: dict[str, str] = field(default_factory=dict, compare=False)
    schema_version: int = SCHEMA_VERSION

    @property
    def t_w(self) -> float:
        """The time at which a warm start enters the flow, 0..1."""
        return next(t for name, t, _ in self.time_rows if name == WARM)

    def warm_step(self, chosen: str | None = None) -> str:
        """Return the way from a warm start to a chunk, or what is `chosen` in its place."""
        own = next(way_of(t, r) for name, t, r in self.time_rows if name == WARM)
        return chosen or own

    @property
    def t_refine(self) -> float | None:
        """The time of the refining evaluation; None when there is none by default."""
        times = (t for name, t, _ in self.time_rows if name == REFINE)
        return next(times) if self.refine else None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` is the inverse."""
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
        """Read `to_json`'s values. Raises PolicyError naming a missing, unknown or mistyped one."""
        version = value.get("schema_version") if isinstance(value, dict) else None
        if version != SCHEMA_VERSION:
            raise PolicyError(
                f"policy schema version {shown(version)}, this ofp-edge reads {SCHEMA_VERSION}."
            )
        value = {"refine": False, "plan_sha256": None, **value}  # folders of before
        options = value.get("method_options")
        if value.get("method") == "diffusion" and isinstance(options, dict) and options:
            if "predicts_data" not in options:
                value["method_options"] = {**options, "predicts_data": 0.0}
        network = network_from_json(value.get("network"))
        if isinstance(value.get("training"), dict):  # the forms written before there were images
            value["training"] = {"rgb_weights_sha256": None, **value["training"]}
        config = read_as(PolicyConfig, value, "", PolicyError, "config", network=network)
        config._check()
        return config

    def _check(self) -> None:
        names = {name for name, _, _ in self.time_rows}
        draws = self.network.draws
        if not draws and (self.time_rows or self.start != Start() or self.refine):
            raise PolicyError(
                f"config: a policy of method {shown(self.method)} is deterministic: expected no "
                "time_rows, the plain start and no refine."
            )
        if draws and {COLD, WARM} - names:
            raise PolicyError("config.time_rows: expected at least cold and warm.")
        if any(not 0 <= t <= 1 or not 0 <= r <= 1 for _, t, r in self.time_rows):
            raise PolicyError("config.time_rows: expected times of 0 to 1.")
        if why := self.start.wrong():
            raise PolicyError(f"config.start.{why[0]}: {why[1]}.")
        if self.refine and REFINE not in names:
            raise PolicyError("config.refine: there is no time row 'refine'.")
        for name in self.files:
            if "/" in name or name.startswith("."):
                raise PolicyError(f"config.files: expected plain file names, got {shown(name)}.")


def network_from_json(value: Any) -> Network:
    """Return the network that `config.network` describes. Raises PolicyError naming the entry."""
    kind = value.get("kind") if isinstance(value, dict) else None
    for network in NETWORKS:
        if kind == network.kind:
            own = kind is None  # ours have none
            rest = value if own else {key: x for key, x in value.items() if key != "kind"}
            return network.from_json(rest)
    known = " or ".join(str(x.kind) for x in NETWORKS if x.kind)
    raise PolicyError(f"config.network.kind: expected {known}, got {shown(kind)}.")
