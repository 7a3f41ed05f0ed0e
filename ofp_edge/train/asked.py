"""What a request changes of a run's settings, and what a run that goes on keeps."""

from __future__ import annotations

from dataclasses import replace

from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.fields import Rgb
from ofp_edge.policy.config import PolicyConfig, TrainingConfig
from ofp_edge.policy.methods import build_method, options_of
from ofp_edge.policy.methods.method import Method
from ofp_edge.spec import PolicySpec
from ofp_edge.train.request import Request


def asked_settings(
    request: Request, base: TrainingConfig, method: Method, spec: PolicySpec
) -> TrainingConfig:
    """Return the preset's or the policy's settings `base` with what the request has of its own.
    Raises OfpError for a number that can't be, and for a change of images that nobody sees."""
    for name in ("steps", "batch_size", "learning_rate", "draws"):
        value = getattr(request, name)
        if value is not None and not value > 0:
            raise OfpError(f"{name}: expected a positive number, got {value}.")
        if value is not None:
            base = replace(base, **{name: value})
    base = _augmented(request, base, spec)
    if method.teacher_decay is not None:
        base = replace(base, ema_decay=method.teacher_decay)
    return base


def _augmented(request: Request, base: TrainingConfig, spec: PolicySpec) -> TrainingConfig:
    sides = [min(x.shape[1:]) for x in spec.observations if isinstance(x, Rgb)]
    for option, value in (
        ("--color-jitter", request.color_jitter),
        ("--shift-px", request.shift_px),
    ):
        if value and not sides:
            raise OfpError(f"{option} {value:g}: the policy sees no images. Leave it out.")
    if (jitter := request.color_jitter) is not None:
        if not 0 <= jitter < 1:
            raise OfpError(
                f"--color-jitter {jitter:g}: expected 0 or more, below 1. 0.2 changes light by up "
                "to a fifth."
            )
        base = replace(base, color_jitter=jitter)
    if (shift := request.shift_px) is not None:
        most = min(sides, default=0) // 2
        if not 0 <= shift <= most:
            raise OfpError(
                f"--shift-px {shift}: expected 0 to {most}, at most half of an image's side."
            )
        base = replace(base, shift_px=shift)
    return base


def require_same(request: Request, config: PolicyConfig) -> None:
    """Raise PolicyError for what a request to go on has otherwise than the run that was begun."""
    settings = config.training.settings
    have = {
        "method": config.method,
        "preset": config.preset,
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "draws": settings.draws,
        "color_jitter": settings.color_jitter,
        "shift_px": settings.shift_px,
        "seed": config.training.seed,
        "committed_steps": config.network.committed_steps,
        "horizon": config.spec.horizon,
        "n_action_steps": config.spec.n_action_steps,
    }
    for name, value in have.items():
        got = getattr(request, name)
        if got is not None and got != value:
            raise PolicyError(
                f"{request.output} was trained with {name} {value}, got {got}. A resumed run "
                "keeps its settings: leave the option out, or train anew with --force."
            )
    wanted = options_of(build_method(config.method, request.options))
    trained = options_of(build_method(config.method, config.method_options))
    for name in request.options or {}:
        if wanted[name] != trained[name]:
            raise PolicyError(
                f"{request.output} was trained with {name} {trained[name]:g}, got "
                f"{wanted[name]:g}. A resumed run keeps its settings: leave --option out."
            )
