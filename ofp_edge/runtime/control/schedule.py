"""The limits of a run's times, which no schedule can break: latency, age of a plan, cross-fade."""

from __future__ import annotations

from ofp_edge.errors import RigError
from ofp_edge.spec import PolicySpec


def check_schedule(
    spec: PolicySpec, latency_ns: int, max_plan_age_ns: int, fade_steps: int
) -> None:
    """Raise RigError where the times can't be met by any schedule."""
    dt = spec.dt_ns
    if not 0 <= latency_ns <= (spec.plan_steps - spec.n_action_steps) * dt:
        raise RigError(
            f"latency_ms: expected 0..{(spec.plan_steps - spec.n_action_steps) * dt / 1e6:g} "
            f"((horizon - n_action_steps) control steps), got {latency_ns / 1e6:g}."
        )
    shortest, longest = latency_ns + spec.n_action_steps * dt, spec.plan_steps * dt
    if not shortest <= max_plan_age_ns <= longest:
        raise RigError(
            f"max_plan_age_ms: expected {shortest / 1e6:g}..{longest / 1e6:g} (latency and "
            f"n_action_steps at least, horizon at most), got {max_plan_age_ns / 1e6:g}."
        )
    if not 0 <= fade_steps < spec.plan_steps:
        raise RigError(
            f"cross_fade_steps: expected 0..{spec.plan_steps - 1} (less than horizon), "
            f"got {fade_steps}."
        )
