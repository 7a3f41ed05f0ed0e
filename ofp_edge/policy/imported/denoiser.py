"""Diffusion Policy's network: it denoises step by step, or serves as u(z, t, r | o).

On the straight path z_t = (1 - t) eps + t a, a step k of the training with sqrt(abar_k) : sqrt(1 -
abar_k) = t : (1 - t) is the same point, scaled: x_k = z_t / sqrt(t^2 + (1 - t)^2). So a network
that predicts the noise e gives the velocity too, (z_t - e) / t, and one that predicts the sample a
gives (a - z_t) / (1 - t). Near the end where that divides by 0 the gain is held: there `distill`
learns what is missing. The step's embedding is widened by one of r - t that starts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ofp_edge.fields import Rgb
from ofp_edge.normalize import FieldStatistics, joined
from ofp_edge.policy.imported.denoise import Denoise
from ofp_edge.policy.imported.images import RESNETS, CameraConfig, ImageEncoder
from ofp_edge.policy.imported.normalize import NORMALIZATIONS, ModeNormalize, require_modes
from ofp_edge.policy.imported.schedule import SPACINGS, ScheduleConfig, scheduler
from ofp_edge.policy.imported.unet import ConditionalUnet, StepEmbedding, UnetSizes
from ofp_edge.policy.kind import Network
from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.parts import Embedding, Encoder
from ofp_edge.policy.sizes import read_sizes, require_one_of
from ofp_edge.policy.trunks.trunk import zero
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import shown

LEAST_SHARE = 0.2  # of the data (of the noise, for samples) below which the gain is held
_OCTAVES = 8


class FrameEncoder(Encoder):
    """Maps fields in spec order to normalised values and image features, in the same order."""

    def __init__(
        self, config: DenoiserConfig, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]
    ) -> None:
        super().__init__()
        self.parts = tuple(f.part for f in spec.observations)
        self.normalize = nn.ModuleList(
            ModeNormalize(config.normalization[f.name], statistics[f.name], len(f.input_shape))
            for f in spec.observations
        )
        images = [f for f in spec.observations if f.part == Rgb.part]
        self.cameras = nn.ModuleList()
        self.feature_dim = sum(f.shape[0] for f in spec.observations if f.part == "")
        if images and config.cameras is not None:
            count = 1 if config.cameras.shared else len(images)
            self.cameras.extend(ImageEncoder(config.cameras, *f.shape[1:]) for f in images[:count])
            self.feature_dim += 2 * config.cameras.keypoints * len(images)

    def forward(self, *observations: Tensor) -> Tensor:
        """Map state (B, D), images (B, 3, H, W) in 0..1 to (B, F)."""
        parts, seen = [], 0
        for part, normalize, x in zip(self.parts, self.normalize, observations, strict=True):
            x = normalize(x)
            if part == Rgb.part:
                x = self.cameras[seen % len(self.cameras)](x)
                seen += 1
            parts.append(x)
        return torch.cat(parts, 1)


class Steps(Embedding):
    """Maps t, r to the embedding of t's step, and of r - t too where the network jumps."""

    places: Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.average, self.count = config.average, config.schedule.train_steps
        self.noise = config.schedule.predicts == "epsilon"
        self.step = StepEmbedding(config.step_features)
        self.size = config.step_features + (2 if self.average else 0)
        if self.average:
            bars = scheduler(config.schedule).alphas_cumprod.double()
            places = bars.sqrt() / (bars.sqrt() + (1 - bars).sqrt())  # t of every step, falling
            self.register_buffer("places", places.float(), persistent=False)
            width = config.step_features
            last = nn.Linear(width, width)
            zero(last)
            self.jump = nn.Sequential(nn.Linear(2 * _OCTAVES, width), nn.Mish(), last)

    def of_step(self, k: Tensor) -> Tensor:
        """Embed step k (B,) as (B, E)."""
        embedded: Tensor = self.step(k)
        return embedded

    def forward(self, t: Tensor, r: Tensor) -> Tensor:
        """Return (B, size). A denoiser's t is 1 - (k + 1) / T; others add scale and gain of z."""
        if not self.average:
            return self.of_step(torch.round((1 - t) * self.count - 1).clamp(0, self.count - 1))
        rate = math.pi / 2 * 2.0 ** torch.arange(_OCTAVES, device=t.device)
        angles = (r - t)[:, None] * rate
        jump = self.jump(torch.cat([angles.sin(), angles.cos()], 1))
        scale = (t.square() + (1 - t).square()).rsqrt()
        gain = 1 / (t if self.noise else 1 - t).clamp(min=LEAST_SHARE)
        return torch.cat([self.of_step(self._step_of(t)) + jump, scale[:, None], gain[:, None]], 1)

    def _step_of(self, t: Tensor) -> Tensor:
        """The step, whole or not, at which the share of data is t."""
        rising = self.places.flip(0)
        above = torch.searchsorted(rising, t.contiguous()).clamp(1, self.count - 1)
        low, high = rising[above - 1], rising[above]
        part = ((t - low) / (high - low)).clamp(0, 1)
        return self.count - 1 - (above - 1 + part)


class AverageTrunk(nn.Module):
    """Maps z, features, (embedding, scale, gain) to u, by a U-Net that predicts noise or sample."""

    def __init__(self, unet: ConditionalUnet, config: DenoiserConfig) -> None:
        super().__init__()
        self.unet, self.size = unet, config.step_features
        self.sign = 1.0 if config.schedule.predicts == "epsilon" else -1.0

    def forward(self, z: Tensor, features: Tensor, time: Tensor) -> Tensor:
        """Map (B, H*A) to (B, H*A)."""
        scale, gain = time[:, self.size : self.size + 1], time[:, self.size + 1 :]
        out = self.unet(z * scale, features, time[:, : self.size])
        u: Tensor = self.sign * (z - out) * gain
        return u


@dataclass(frozen=True)
class DenoiserConfig(UnetSizes, Network):
    """Describes Diffusion Policy's conditional U-Net (Chi et al., RSS 2023) and its encoders.

    normalization: by field, one of NORMALIZATIONS. average: False denoises, step by step; True is
    the same network turned into u(z, t, r), which `distill` trains.
    """

    kind: ClassVar[str | None] = "denoiser"
    cameras: CameraConfig | None
    schedule: ScheduleConfig
    normalization: dict[str, str]
    average: bool = False

    @property
    def refusals(self) -> Mapping[str, str]:
        """The same as for Network; only what is widened already can be trained."""
        return {} if self.average else {"train": "was imported: it is distilled, ofp-edge distill."}

    @classmethod
    def from_json(cls, value: Any) -> DenoiserConfig:
        """Read the entry; see Network."""
        what = "config.network"
        cameras = value.get("cameras")
        if cameras is not None:
            cameras = read_sizes(CameraConfig, cameras, f"{what}.cameras")
            require_one_of(f"{what}.cameras.backbone", cameras.backbone, RESNETS)
        schedule = read_sizes(
            ScheduleConfig, value.get("schedule"), f"{what}.schedule", from_0=("offset",)
        )
        require_one_of(f"{what}.schedule.scheduler", schedule.scheduler, ("DDPM", "DDIM"))
        require_one_of(f"{what}.schedule.predicts", schedule.predicts, ("epsilon", "sample"))
        require_one_of(f"{what}.schedule.spacing", schedule.spacing, SPACINGS)
        made = read_sizes(cls, value, what, cameras=cameras, schedule=schedule)
        for name, mode in made.normalization.items():
            require_one_of(f"{what}.normalization.{shown(name)[1:-1]}", mode, NORMALIZATIONS)
        return made

    def build(self, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]) -> PolicyNetwork:
        """Build it (see Network). Where `average` is False it gives noise or sample, as trained."""
        mode = require_modes(self.normalization, spec)
        encoder, time = FrameEncoder(self, spec, statistics), Steps(self)
        features = spec.n_obs_steps * encoder.feature_dim
        unet = ConditionalUnet(self, spec.horizon, spec.action_dim, features)
        trunk = AverageTrunk(unet, self) if self.average else unet
        ranges = joined([statistics[f.name] for f in spec.actions])
        actions = ModeNormalize(mode, ranges, 2, spec.horizon)
        return PolicyNetwork(spec, encoder, time, trunk, actions, learns=self.average)

    def sampling(self, method: str, options: Mapping[str, float]) -> Sampling:
        """Return the sampling; see Network."""
        return super().sampling(method, options) if self.average else Denoise(self.schedule)

    def widened(
        self,
        network: PolicyNetwork,
        method: str,
        statistics: Mapping[str, FieldStatistics],
        what: str,
    ) -> tuple[Network, PolicyNetwork]:
        """Widen the network; see Network."""
        if self.average:
            return super().widened(network, method, statistics, what)
        wide = replace(self, average=True)
        made = wide.build(network.spec, statistics)
        weights = made.state_dict()
        for name, tensor in network.state_dict().items():
            inner = name.startswith("trunk.")
            weights[name.replace("trunk.", "trunk.unet.", 1) if inner else name] = tensor
        made.load_state_dict(weights)
        return wide, made.eval()
