"""A foreign noise scheduler's settings, which have diffusers' names wherever they stand."""

from __future__ import annotations

from ofp_edge.errors import PolicyError
from ofp_edge.imports.values import Values
from ofp_edge.policy.imported.schedule import SPACINGS, ScheduleConfig
from ofp_edge.strict import shown

_DYNAMIC = ("dynamic_thresholding_ratio", "sample_max_value")  # of `thresholding`, which is off


def read_schedule(values: Values, kind: str, steps: int | None) -> ScheduleConfig:
    """kind: DDPM or DDIM. steps: evaluations a chunk; None takes all of the training's.

    The entries that diffusers has a default for may be missing. Whatever else stands in `values`
    is left to its owner. Raises PolicyError on what is not sampled here.
    """
    predicts = values.text("prediction_type")
    if predicts not in ("epsilon", "sample"):
        raise PolicyError(
            f"{values.what}: {kind} that predicts {shown(predicts)} can't be imported, only "
            "epsilon and sample can."
        )
    values.require("thresholding", False)
    values.require("trained_betas", None)
    for key in _DYNAMIC:
        values.get(key)
    if kind == "DDPM":
        values.require("variance_type", "fixed_small")
    clip = values.number("clip_sample_range") if "clip_sample_range" in values.value else 1.0
    if not clip > 0:
        raise PolicyError(f"{values.what}: clip_sample_range: expected more than 0, got {clip:g}.")
    train = values.whole("num_train_timesteps")
    spacing = values.text("timestep_spacing") if "timestep_spacing" in values.value else SPACINGS[0]
    if spacing not in SPACINGS:
        raise PolicyError(
            f"{values.what}: timestep_spacing {shown(spacing)}: expected {', '.join(SPACINGS)}."
        )
    return ScheduleConfig(
        scheduler=kind,
        train_steps=train,
        beta_schedule=values.text("beta_schedule"),
        beta_start=values.number("beta_start"),
        beta_end=values.number("beta_end"),
        predicts=predicts,
        clip=clip if values.flag("clip_sample") else None,
        steps=train if steps is None else steps,
        spacing=spacing,
        offset=values.whole("steps_offset", least=0) if "steps_offset" in values.value else 0,
        zero_snr=_optional_flag(values, "rescale_betas_zero_snr", False),
        ends_at_one=kind == "DDPM" or _optional_flag(values, "set_alpha_to_one", True),
    )


def _optional_flag(values: Values, key: str, default: bool) -> bool:
    return values.flag(key) if key in values.value else default
