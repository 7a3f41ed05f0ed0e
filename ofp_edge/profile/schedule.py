"""What a measured latency asks of the policy: its horizon, its prefix, how often it can plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ofp_edge.rig.horizon import Needs, needs, plan_ages_ns, steps
from ofp_edge.spec import Chunking


@dataclass(frozen=True)
class Times:
    """The times of a schedule, milliseconds. cold: the latency of an episode's first plan. delay:
    the robot's own. late: how much later than L a plan may come. busy: how long the planner is busy
    with one plan, at its slowest; busy_mean: on average, other looks between two plans included."""

    latency: float
    cold: float
    delay: float
    late: float
    busy: float
    busy_mean: float


def schedule(chunking: Chunking, committed: int | None, times: Times) -> dict[str, Any]:
    """Return the document `schedule` of a profile. committed: the longest prefix that the policy
    was trained with; None: with none. Steps are control steps; `needed` is the least that would do,
    and `train` what to write for it, one way or another; it is empty where all suffices."""
    dt_ns, n = chunking.dt_ns, chunking.n_action_steps
    latency_ns, delay_ns, busy_ns = _ns(times.latency), _ns(times.delay), _ns(times.busy)
    found = needs(chunking, latency_ns, delay_ns=delay_ns, late_ns=_ns(times.late), busy_ns=busy_ns)
    cold_ns = max(latency_ns, _ns(times.cold))
    first = needs(chunking, cold_ns, delay_ns=delay_ns, busy_ns=busy_ns)
    worst = max(found, first, key=lambda x: x.plan_steps)
    told = None if committed is None else found.bridge_steps
    untold = told is not None and committed is not None and told > committed
    fits = worst.spare_steps >= 0
    fastest = max(1, steps(busy_ns, dt_ns))
    least_ns, most_ns = plan_ages_ns(chunking, cold_ns, delay_ns)
    return {
        "latency_ms": times.latency,
        "cold_latency_ms": times.cold,
        "actuation_delay_ms": times.delay,
        "late_ms": times.late,
        "bridge_steps": found.bridge_steps,
        "left_steps": found.left_steps,
        "spare_steps": worst.spare_steps,
        "busy_ms": times.busy,
        "busy_share": times.busy_mean * 1e6 / (n * dt_ns),
        "replan_hz": 1e9 / (n * dt_ns),
        "sustainable_replan_hz": 1e9 / (fastest * dt_ns),
        "have": {
            "horizon": chunking.horizon, "n_action_steps": n, "committed_steps": committed,
        },
        "needed": {
            "horizon": worst.horizon,
            "n_action_steps": worst.replan_steps,
            "committed_steps": told,
        },
        "longest_n_action_steps": worst.n_action_steps,
        "max_plan_age_ms": [least_ns / 1e6 + times.late, most_ns / 1e6],
        "suffices": fits and not untold,
        "train": _train(n, worst, told, fastest) if untold or not fits else [],
    }  # fmt: skip


def schedule_lines(found: dict[str, Any]) -> list[str]:
    """Say the schedule in a few lines, for people."""
    have, needed = found["have"], found["needed"]
    delay = found["actuation_delay_ms"]
    own = f" and the robot's {delay:g} ms" if delay else ""
    least, most = found["max_plan_age_ms"]
    lines = [
        f"of a horizon of {have['horizon']}, {found['bridge_steps']} actions bridge L = "
        f"{found['latency_ms']:g} ms{own}, {max(0, found['left_steps'])} are left for "
        f"n_action_steps = {have['n_action_steps']}; needed, with plans up to "
        f"{found['late_ms']:g} ms late: horizon {needed['horizon']}",
        f"a plan every {have['n_action_steps']} steps ({found['replan_hz']:.3g} Hz) keeps the "
        f"planner busy {100 * found['busy_share']:.0f} %; at most "
        f"{found['sustainable_replan_hz']:.3g} Hz",
    ]
    if needed["committed_steps"] is not None:
        lines.append(
            f"committed prefix: {needed['committed_steps']} steps needed, "
            f"{have['committed_steps']} trained"
        )
    if least <= most:
        lines.append(f"max_plan_age_ms: {least:g} to {most:g}")
    return lines


def schedule_notes(found: dict[str, Any]) -> list[str]:
    """Return what does not suffice, a line each, with what to write instead; none if all does."""
    have, needed = found["have"], found["needed"]
    notes = []
    if found["replan_hz"] > found["sustainable_replan_hz"]:
        notes.append(
            f"The planner is busy for {found['busy_ms']:.1f} ms with a plan: a plan every "
            f"{have['n_action_steps']} steps can't be had, one every {needed['n_action_steps']} "
            "can."
        )
    if found["spare_steps"] < 0:
        notes.append(
            f"This horizon is too short by {-found['spare_steps']}: plans end before the next one "
            "takes over. Take a faster engine or a smaller policy, or "
            f"{' or '.join(found['train'])}."
        )
    elif found["train"]:
        notes.append(
            f"{needed['committed_steps']} steps are committed when a plan takes over, and the "
            f"policy is told of the first {have['committed_steps']}: {found['train'][0]}."
        )
    return notes


def _train(n: int, worst: Needs, told: int | None, fastest: int) -> list[str]:
    """The ways: a longer horizon, or fewer actions of a plan where the planner can follow."""
    prefix = f" --committed-steps {told}" if told else ""
    if worst.spare_steps >= 0:
        return [f"train{prefix}"]
    slower = f" --n-action-steps {worst.replan_steps}" if worst.replan_steps > n else ""
    ways = [f"train --horizon {worst.horizon}{slower}{prefix}"]
    if worst.n_action_steps >= fastest:
        ways.append(f"train --n-action-steps {worst.n_action_steps}{prefix}")
    return ways


def _ns(ms: float) -> int:
    return round(ms * 1e6)
