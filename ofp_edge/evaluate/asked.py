"""What a policy that takes an instruction is told in a simulated episode."""

from __future__ import annotations

from ofp_edge.fields.text import instructions_of
from ofp_edge.sim.world import World
from ofp_edge.spec import PolicySpec


def asked_of(world: World, spec: PolicySpec) -> str | None:
    """Return the instruction of the world's present episode, or its task's name where the task has
    no words; None for a policy that takes none."""
    if not instructions_of(spec.observations):
        return None
    return world.instruction or world.task.name
