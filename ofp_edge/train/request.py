"""What a user asks of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """The user's request; None is the preset's value, or on --resume and --init the policy's own.

    options: the method's numbers that differ from its defaults. distill: `init` is a policy of many
    steps, whose time embedding is widened first. mixed: datasets to mix with the first one.
    weights: how often each is drawn from, by default in proportion to its windows. committed_steps:
    the longest committed prefix to train with (see policy/prefix.py); by default none. instructed:
    tell a new policy the task of each episode, in the data's words. horizon, n_action_steps: in
    control steps, as in a spec. draws, color_jitter, shift_px: as in
    TrainingConfig.
    """

    dataset: Path
    output: Path
    method: str | None = None
    preset: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    resume: bool = False
    init: Path | None = None
    force: bool = False
    options: Mapping[str, float] | None = None
    rgb_weights: Path | None = None
    distill: bool = False
    mixed: tuple[Path, ...] = ()
    weights: tuple[float, ...] | None = None
    committed_steps: int | None = None
    instructed: bool = False
    horizon: int | None = None
    n_action_steps: int | None = None
    draws: int | None = None
    color_jitter: float | None = None
    shift_px: int | None = None
