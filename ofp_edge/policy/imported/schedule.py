"""Turn a diffusion policy's sampling into a ladder of constants, one rung for each evaluation.

    x0  = clip((m z - s out) / d)          out: the network's, at step k
    z'  = c0 x0 + cz z + ce out            (+ sigma eps, DDPM's)

The betas and the list of steps are diffusers' own; so is the order of operations, because the first
division is by almost 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.extras import require
from ofp_edge.strict import shown

CONSTANTS = 6
SPACINGS = ("leading", "trailing", "linspace")


@dataclass(frozen=True)
class ScheduleConfig:
    """The noise schedule of training, and how a chunk is sampled, under diffusers' own names.

    predicts: epsilon or sample. steps: network evaluations a chunk. clip: None does not clip.
    spacing, offset: which of the training's steps they are (timestep_spacing, steps_offset).
    zero_snr: the last step is nothing but noise (rescale_betas_zero_snr). ends_at_one: the noise
    after the last step is 0, or else that of step 0 (DDIM's set_alpha_to_one).
    """

    scheduler: str
    train_steps: int
    beta_schedule: str
    beta_start: float
    beta_end: float
    predicts: str
    clip: float | None
    steps: int
    spacing: str = "leading"
    offset: int = 0
    zero_snr: bool = False
    ends_at_one: bool = True


@dataclass(frozen=True)
class Rung:
    """One evaluation has scheduler step k, (m, s, d, c0, cz, ce), and the noise to add after it."""

    k: int
    constants: tuple[float, ...]
    sigma: float


def stepped(z: Tensor, out: Tensor, constants: Sequence[Any], clip: float | None) -> Tensor:
    """Compute z' without its noise; constants: numbers, or columns (B, 1)."""
    m, s, d, c0, cz, ce = constants
    sample = (m * z - s * out) / d
    if clip is not None:
        sample = sample.clamp(-clip, clip)
    after: Tensor = c0 * sample + (cz * z + ce * out)
    return after


def scheduler(config: ScheduleConfig) -> Any:
    """Return diffusers' scheduler. Raises PolicyError on a beta schedule that it does not know."""
    own = {"set_alpha_to_one": config.ends_at_one} if config.scheduler == "DDIM" else {}
    kind = getattr(require("diffusers", "train"), f"{config.scheduler}Scheduler")
    try:
        return kind(
            num_train_timesteps=config.train_steps,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            beta_schedule=config.beta_schedule,
            clip_sample=config.clip is not None,
            clip_sample_range=config.clip or 1.0,
            prediction_type=config.predicts,
            timestep_spacing=config.spacing,
            steps_offset=config.offset,
            rescale_betas_zero_snr=config.zero_snr,
            **own,
        )
    except NotImplementedError as cause:
        raise PolicyError(f"noise schedule: {cause}") from None


def rungs(config: ScheduleConfig, nfe: int) -> tuple[Rung, ...]:
    """Return the ladder of `nfe` evaluations. PolicyError where it has steps that were not trained,
    or one that predicts noise where there is nothing else."""
    if not 1 <= nfe <= config.train_steps:
        raise PolicyError(
            f"--nfe {nfe}: expected 1 to {config.train_steps}, the steps it was trained with."
        )
    made = scheduler(config)
    made.set_timesteps(nfe)
    bars: Tensor = made.alphas_cumprod
    one = torch.tensor(1.0)
    last = one if config.scheduler == "DDPM" else made.final_alpha_cumprod
    found = []
    steps = [int(k) for k in made.timesteps]
    if len(steps) != nfe or not all(0 <= k < config.train_steps for k in steps):
        raise PolicyError(
            f"{nfe} evaluations by timestep_spacing {config.spacing} with steps_offset "
            f"{config.offset} are the steps {shown(steps)}: expected {nfe} of 0 to "
            f"{config.train_steps - 1}."
        )
    if config.predicts == "epsilon" and any(bars[k] == 0 for k in steps):
        raise PolicyError(
            f"{nfe} evaluations begin at step {steps[0]}, which rescale_betas_zero_snr makes all "
            "noise: a network that predicts epsilon can't tell the sample there."
        )
    for i, k in enumerate(steps):
        if config.scheduler == "DDPM":
            before = steps[i + 1] if i + 1 < len(steps) else -1
        else:
            before = k - config.train_steps // nfe
        bar, bar_before = bars[k], bars[before] if before >= 0 else last
        beta, beta_before = 1 - bar, 1 - bar_before
        s, d = beta**0.5, bar**0.5
        sigma = torch.tensor(0.0)
        if config.scheduler == "DDPM":
            alpha = bar / bar_before
            c0 = bar_before**0.5 * (1 - alpha) / beta
            cz, ce = alpha**0.5 * beta_before / beta, torch.tensor(0.0)
            if k > 0:
                sigma = torch.clamp(beta_before / beta * (1 - alpha), min=1e-20) ** 0.5
        else:
            c0, direction = bar_before**0.5, beta_before**0.5
            cz, ce = torch.tensor(0.0), direction
            if config.predicts == "sample":  # the noise is what is left of z
                cz, ce = direction / s, -direction * d / s
        first = (one, s, d) if config.predicts == "epsilon" else (one * 0, -one, one)
        found.append(Rung(k, tuple(float(x) for x in (*first, c0, cz, ce)), float(sigma)))
    return tuple(found)
