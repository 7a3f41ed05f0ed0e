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

CONSTANTS = 6


@dataclass(frozen=True)
class ScheduleConfig:
    """The noise schedule of training, and how a chunk is sampled, under diffusers' own names.

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
        )
    except NotImplementedError as cause:
        raise PolicyError(f"noise schedule: {cause}") from None


def rungs(config: ScheduleConfig, nfe: int) -> tuple[Rung, ...]:
    """Return the ladder of `nfe` evaluations. Raises PolicyError beyond the steps of training."""
    if not 1 <= nfe <= config.train_steps:
        raise PolicyError(
            f"--nfe {nfe}: expected 1 to {config.train_steps}, the steps it was trained with."
        )
    made = scheduler(config)
    made.set_timesteps(nfe)
    bars: Tensor = made.alphas_cumprod
    one = torch.tensor(1.0)
    found = []
    steps = [int(k) for k in made.timesteps]
    for i, k in enumerate(steps):
        if config.scheduler == "DDPM":
            before = steps[i + 1] if i + 1 < len(steps) else -1
        else:
            before = k - config.train_steps // nfe
        bar, bar_before = bars[k], bars[before] if before >= 0 else one
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
