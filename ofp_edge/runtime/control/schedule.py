"""The limits of a run's times: latency, age of a plan and cross-fade, and how ticks follow."""

from __future__ import annotations

from ofp_edge.errors import RigError
from ofp_edge.rig.horizon import longest_latency_ns, plan_ages_ns
from ofp_edge.spec import PolicySpec


def check_schedule(
    spec: PolicySpec,
    latency_ns: int,
    cold_ns: int,
    max_plan_age_ns: int,
    fade_steps: int,
    delay_ns: int = 0,
) -> None:
    """Raise RigError where the times can't be met by any schedule."""
    whole, most = longest_latency_ns(spec), longest_latency_ns(spec, delay_ns)
    less = " - actuation_delay_ms" if delay_ns else ""
    if not 0 <= delay_ns <= whole:
        raise RigError(
            f"actuation_delay_ms: expected 0..{whole / 1e6:g} ((horizon - n_action_steps) control "
            f"steps), got {delay_ns / 1e6:g}."
        )
    times = (("latency_ms", latency_ns, 0), ("cold_latency_ms", cold_ns, latency_ns))
    for name, value, least in times:
        if not least <= value <= most:
            raise RigError(
                f"{name}: expected {least / 1e6:g}..{most / 1e6:g} "
                f"({'latency_ms' if least else '0'} to (horizon - n_action_steps) control steps"
                f"{less}), got {value / 1e6:g}."
            )
    shortest, longest = plan_ages_ns(spec, cold_ns, delay_ns)
    if not shortest <= max_plan_age_ns <= longest:
        raise RigError(
            f"max_plan_age_ms: expected {shortest / 1e6:g}..{longest / 1e6:g} (latency and "
            f"n_action_steps at least, horizon{less} at most), got {max_plan_age_ns / 1e6:g}."
        )
    if not 0 <= fade_steps < spec.plan_steps:
        raise RigError(
            f"cross_fade_steps: expected 0..{spec.plan_steps - 1} (less than horizon), "
            f"got {fade_steps}."
        )


def clock_trouble(
    now_ns: int, last_ns: int | None, since_ns: int | None, max_plan_age_ns: int
) -> str | None:
    """Return what is wrong with the time of a tick: ticks rise, and never leave out more than a
    plan may be followed. last_ns: the tick before; since_ns: it, or the episode's start after it.
    """
    if (last_ns is not None and now_ns <= last_ns) or (since_ns is not None and now_ns < since_ns):
        return "the clock went back"
    if since_ns is not None and now_ns - since_ns > max_plan_age_ns:
        return (
            f"no tick for {(now_ns - since_ns) / 1e6:.0f} ms (max_plan_age_ms = "
            f"{max_plan_age_ns / 1e6:g}): the clock jumped ahead, or the loop stood still"
        )
    return None
