"""A minimal spec of a simulated task, for tests that only look at its fields or move its robot."""

from __future__ import annotations

from ofp_edge.sim.fields import Observe, action_fields, observation_fields
from ofp_edge.sim.world import AnyTask
from ofp_edge.spec import PolicySpec


def spec_of(task: AnyTask, observe: Observe = "depth") -> PolicySpec:
    """Every field of the task, one action at a time."""
    fields = observation_fields(task, observe)
    return PolicySpec(fields, action_fields(task), 1, 1, 1, task.control_hz)
