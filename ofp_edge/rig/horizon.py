"""How many actions a plan must have, by arithmetic: the one place for it. Whole nanoseconds.

    t_obs            t_obs + L     next t_obs      next t_obs + L (+ late)
      |--------- bridge ---|--- executed ---------------|
      0                    (L + D) / dt                 (R dt + L + late + D) / dt   its action

A plan takes over at t_obs + L and is followed until the next one does, R control steps later. A
robot that moves D after its command (`actuation_delay_ms`) is sent, at t, the action of t + D.
"""

from __future__ import annotations

from dataclasses import dataclass

from ofp_edge.spec import Chunking


@dataclass(frozen=True)
class Needs:
    """What a latency asks of a policy, in control steps.

    bridge_steps: the first actions of a plan, which act before it can take over: they are never
    sent, and a policy that can be told what is committed must be told as many (`train
    --committed-steps`). left_steps: those that are left of this policy's plans; below 1 none is.
    replan_steps: from one plan to the next, n_action_steps or as long as the planner is busy.
    plan_steps, horizon: the least that a plan must have, from its observation on and in all.
    n_action_steps: the most that this policy's horizon leaves; below 1 there is no schedule.
    spare_steps: how many more than needed this policy's plans have; below 0 so many are missing.
    """

    bridge_steps: int
    left_steps: int
    replan_steps: int
    plan_steps: int
    horizon: int
    n_action_steps: int
    spare_steps: int


def needs(
    chunking: Chunking, latency_ns: int, *, delay_ns: int = 0, late_ns: int = 0, busy_ns: int = 0
) -> Needs:
    """Return what a schedule needs so that a plan never ends before the next one takes over.

    latency_ns: L. delay_ns: D, the robot's own. late_ns: how much later than L a plan may come, and
    how much further than `replan_steps` two observations may lie apart. busy_ns: how long the
    planner is busy with a plan; it takes the next order at a tick.
    """
    dt_ns = chunking.dt_ns
    replan = max(chunking.n_action_steps, steps(busy_ns, dt_ns))
    # A plan is heard at the tick after its order at the earliest, whatever L is.
    beyond = steps(max(1, latency_ns + late_ns) + delay_ns, dt_ns)
    bridge = steps(latency_ns + delay_ns, dt_ns)
    return Needs(
        bridge_steps=bridge,
        left_steps=chunking.plan_steps - bridge,
        replan_steps=replan,
        plan_steps=replan + beyond,
        horizon=chunking.start_index + replan + beyond,
        n_action_steps=chunking.plan_steps - beyond,
        spare_steps=chunking.plan_steps - replan - beyond,
    )


def steps(ns: int, dt_ns: int) -> int:
    """Return how many control steps last `ns` or longer."""
    return -(-ns // dt_ns)


def longest_latency_ns(chunking: Chunking, delay_ns: int = 0) -> int:
    """Return the longest L at which a plan lasts until the next one takes over."""
    return (chunking.plan_steps - chunking.n_action_steps) * chunking.dt_ns - delay_ns


def plan_ages_ns(chunking: Chunking, latency_ns: int, delay_ns: int = 0) -> tuple[int, int]:
    """Return the least and the most that `max_plan_age_ms` may be: until the next plan takes over,
    and until the last action has acted."""
    dt_ns = chunking.dt_ns
    return (
        latency_ns + chunking.n_action_steps * dt_ns,
        chunking.plan_steps * dt_ns - delay_ns,
    )
