"""What a measured latency asks of the policy: its horizon, its prefix, how often it can plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ofp_edge.rig.horizon import Needs, needs, plan_ages_ns, steps
from ofp_edge.spec import Chunking


@dataclass(frozen=True)
class Times:
    """The times of a schedule, milliseconds. cold: the latency of an episode's first plan; None: L.
    delay: the robot's own. late: how much later than L a plan may come. busy: how long the planner
    is busy with one plan, at its slowest; busy_mean: on average, per plan."""

    latency: float
    cold: float | None
    delay: float
    late: float
    busy: float
    busy_mean: float


def schedule(chunking: Chunking, committed: int | None, times: Times) -> dict[str, Any]:
    """Return the document `schedule` of `profile`. committed: the longest prefix that the policy
    was trained with; None: with none."""
    dt_ns, n = chunking.dt_ns, chunking.n_action_steps
    delay_ns, busy_ns = _ns(times.delay), _ns(times.busy)
    asked = needs(
        chunking, _ns(times.latency), delay_ns=delay_ns, late_ns=_ns(times.late), busy_ns=busy_ns
    )
    cold_ns = _ns(times.latency if times.cold is None else times.cold)
    first = needs(chunking, cold_ns, delay_ns=delay_ns, busy_ns=busy_ns)
    worst = asked if asked.plan_steps >= first.plan_steps else first
    told = None if committed is None else worst_prefix(asked, first)
    least_ns, most_ns = plan_ages_ns(chunking, max(cold_ns, _ns(times.latency)), delay_ns)
    fits = worst.spare_steps >= 0 and (committed is None or told <= committed)
    floor = max(1, steps(busy_ns, dt_ns))
    return {
        "latency_ms": times.latency,
        "actuation_delay_ms": times.delay,
        "late_ms": times.late,
        "bridge_steps": asked.bridge_steps,
        "left_steps": asked.left_steps,
        "spare_steps": worst.spare_steps,
        "busy_ms": times.busy,
        "busy_share": times.busy_mean / (n * dt_ns / 1e6),
        "replan_hz": 1e9 / (n * dt_ns),
        "sustainable_replan_hz": 1e9 / (max(n, floor) * dt_ns),
        "fastest_replan_hz": 1e9 / (floor * dt_ns),
        "have": {
            "horizon": chunking.horizon,
            "n_action_steps": n,
            "committed_steps": committed,
        },
        "needed": {
            "horizon": worst.horizon,
            "n_action_steps": worst.replan_steps,
            "committed_steps": told,
        },
        "longest_n_action_steps": worst.n_action_steps,
        "max_plan_age_ms": [least_ns / 1e6 + times.late, most_ns / 1e6],
        "suffices": fits,
        "train": [] if fits else _train(chunking, committed, worst, told, floor),
    }


def worst_prefix(asked: Needs, first: Needs) -> int:
    """Return the longest prefix: nothing is committed of an episode's first plan, so that its own
    latency asks for none."""
    del first
    return asked.bridge_steps


def _train(
    chunking: Chunking, committed: int | None, worst: Needs, told: int | None, floor: int
) -> list[str]:
    """What to write in `train`: one way or two."""
    prefix = f" --committed-steps {told}" if told else ""
    if worst.spare_steps >= 0:
        return [f"train --committed-steps {told}"]
    replan = worst.replan_steps
    slower = f" --n-action-steps {replan}" if replan > chunking.n_action_steps else ""
    ways = [f"train --horizon {worst.horizon}{slower}{prefix}"]
    if worst.n_action_steps >= floor:
        ways.append(f"train --n-action-steps {worst.n_action_steps}{prefix}")
    return ways
