"""The presets that `--preset` names: sizes, times and training settings, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ofp_edge.errors import UnknownName
from ofp_edge.policy.config import COLD, REFINE, WARM, TrainingConfig
from ofp_edge.policy.kind import Network
from ofp_edge.policy.network_config import NetworkConfig
from ofp_edge.policy.sizes import RgbConfig
from ofp_edge.policy.trunks.mlp import MlpConfig
from ofp_edge.policy.trunks.transformer import TransformerConfig
from ofp_edge.policy.trunks.unet import UnetConfig
from ofp_edge.policy.vla.config import VlaConfig
from ofp_edge.policy.vla.fresh import FreshVla
from ofp_edge.policy.vla.sizes import DecoderSizes, VisionSizes
from ofp_edge.start import JUMP, Start, time_asked

_FOLLOWS = Start(cold_nfe=4, noise_warm=0.25)


@dataclass(frozen=True)
class Preset:
    """A network and the way it is trained and used. Times t_w and t_refine: see method, warm start.

    method_options: by method, the numbers that differ from its defaults.
    """

    name: str
    summary: str
    network: NetworkConfig | FreshVla
    training: TrainingConfig
    n_obs_steps: int
    horizon: int
    n_action_steps: int
    t_w: float
    t_refine: float
    method_options: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        """Whether its network takes instructions."""
        return isinstance(self.network, FreshVla)

    @property
    def time_rows(self) -> tuple[tuple[str, float, float], ...]:
        """The (t, r) pairs that ship with a policy."""
        return rows_with(self.t_w, self.t_refine)

    def starts(self, *, jumps: bool) -> tuple[tuple[tuple[str, float, float], ...], Start]:
        """Return the (t, r) pairs and the start of a new policy. One whose method jumps samples
        once, in four evaluations, then follows (docs/starts.md); others start as they train."""
        return self.time_rows, _FOLLOWS if jumps else Start()


def rows_with(
    t_w: float, t_refine: float, warm_step: str = JUMP
) -> tuple[tuple[str, float, float], ...]:
    """Return the (t, r) pairs of a policy by its two times, and by the way of a warm start."""
    warm = WARM, t_w, time_asked(t_w, warm_step)
    return (COLD, 0.0, 1.0), warm, (REFINE, t_refine, 1.0)


# Weight decay keeps the trunk from growing so steep that a quiet run suddenly runs away.
_TRAINING = TrainingConfig(
    steps=4000, batch_size=128, learning_rate=1e-3, weight_decay=0.1, warmup_steps=100,
    gradient_clip=1.0, ema_decay=0.998, jitter_m=0.003, shift_m=0.05, train_points=128,
)  # fmt: skip

_IMAGES = replace(_TRAINING, batch_size=64, shift_m=0.0, jitter_m=0.0, shift_px=3)

_LARGE = replace(_TRAINING, learning_rate=5e-4, warmup_steps=500)
# Where the trunk is all that a step costs: with jumps on every row it is three to four of flow's
# (docs/results/training-cost). `small` has them on every third.
_FEWER_JUMPS = {"ofp-plus": {"jump_every": 2.0, "guide_every": 4.0}}

_PRETRAINED = replace(
    _IMAGES, batch_size=32, learning_rate=1e-4, weight_decay=1e-4, warmup_steps=200, shift_px=0
)
# Guidance follows the velocity without a condition, which a masked prefix has never learned.
_UNGUIDED = {"ofp-plus": {"guide_from": 1.0}, "ofp": {"lambda_g": 0.0}}


def _decoder(width: int, hidden: int) -> DecoderSizes:
    """Four heads of 16 that share two keys, in three layers."""
    return DecoderSizes(width, 3, 4, 2, 16, hidden, "silu", 1e-5, 100.0)


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "small", "0.6 M parameters: for CPUs",
            NetworkConfig((32, 64, 128), 64, 128, 32, MlpConfig(width=192, blocks=3)),
            replace(_TRAINING, steps=6000), n_obs_steps=1, horizon=8, n_action_steps=2, t_w=0.3,
            t_refine=0.5, method_options={"ofp-plus": {"jump_every": 3.0}},
        ),
        Preset(
            "tiny", "18 k parameters: to try things out, learns little",
            NetworkConfig(
                (16, 16), 16, 16, 8, MlpConfig(width=32, blocks=1),
                RgbConfig((8, 16), (1, 1), keypoints=4, features=8, shared=True),
            ),
            TrainingConfig(
                steps=100, batch_size=32, learning_rate=1e-2, weight_decay=1e-4, warmup_steps=10,
                gradient_clip=1.0, ema_decay=0.98, jitter_m=0.003, shift_m=0.02, train_points=0,
                shift_px=1,
            ),
            n_obs_steps=2, horizon=8, n_action_steps=4, t_w=0.3, t_refine=0.5,
        ),
        Preset(
            "unet", "4.5 M parameters: a convolutional U-Net, for larger CPUs and Orin",
            NetworkConfig(
                (32, 64, 128), 64, 128, 32, UnetConfig((96, 192, 384), blocks=2, kernel=3)
            ),
            _LARGE, n_obs_steps=1, horizon=16, n_action_steps=2, t_w=0.3, t_refine=0.5,
            method_options=_FEWER_JUMPS,
        ),
        Preset(
            "transformer", "2.6 M parameters: attention over the steps, for Orin",
            NetworkConfig(
                (32, 64, 128), 64, 128, 32,
                TransformerConfig(width=192, blocks=4, heads=4, expand=4),
            ),
            _LARGE, n_obs_steps=1, horizon=16, n_action_steps=2, t_w=0.3, t_refine=0.5,
            method_options=_FEWER_JUMPS,
        ),
        Preset(
            "rgb", "0.6 M parameters with two cameras: colour images by a narrow ResNet, for CPUs",
            NetworkConfig(
                (32, 64, 128), 64, 128, 32, MlpConfig(width=192, blocks=3),
                RgbConfig((16, 32), (1, 1), keypoints=16, features=32, shared=False),
            ),
            _IMAGES, n_obs_steps=1, horizon=8, n_action_steps=2, t_w=0.3, t_refine=0.5,
        ),
        Preset(
            "resnet18", "28 M parameters with two cameras: ResNet-18 and a U-Net, for Orin",
            NetworkConfig(
                (32, 64, 128), 64, 256, 32, UnetConfig((96, 192, 384), blocks=2, kernel=3),
                RgbConfig((64, 128, 256, 512), (2, 2, 2, 2), keypoints=32, features=64,
                          shared=False),
            ),
            replace(_IMAGES, learning_rate=1e-4, warmup_steps=500, shift_px=8),
            n_obs_steps=1, horizon=16, n_action_steps=2, t_w=0.3, t_refine=0.5,
        ),
        Preset(
            "vla", "0.25 M parameters: a SmolVLA in small, for pictures and instructions",
            FreshVla(
                VisionSizes(image=32, patch=8, side=4, width=48, layers=1, heads=4, hidden=96,
                            epsilon=1e-6, shuffle=2, bias=False),
                _decoder(width=64, hidden=128), _decoder(width=64, hidden=128), own_every=1,
            ),
            replace(_IMAGES, batch_size=32, learning_rate=2e-3, shift_px=0, draws=8),
            n_obs_steps=1, horizon=8, n_action_steps=6, t_w=0.3, t_refine=0.5,
            method_options=_UNGUIDED,
        ),
    )
}  # fmt: skip


IMPORTED = "imported"  # in a configuration: not one of ours


def like_imported(network: Network, *, images: bool) -> Preset:
    """Return the settings with which an imported network is trained on: those of the preset whose
    network is most like it, gentler where the whole world's data went into it."""
    if isinstance(network, VlaConfig):
        return replace(PRESETS["vla"], name=IMPORTED, training=_PRETRAINED)
    return replace(PRESETS["resnet18" if images else "unet"], name=IMPORTED)


def preset(name: str) -> Preset:
    """Return the preset of this name. Raises UnknownName listing all presets."""
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return PRESETS[name]
