"""What a policy that takes an instruction is told in a simulated episode."""

from __future__ import annotations

from ofp_edge.fields.text import instructions_of
from ofp_edge.sim.world import World
from ofp_edge.spec import PolicySpec


def asked_of(world: World, spec: PolicySpec) -> str | None:
    """Return the instruction of the world's present episode; None for a policy that takes none."""
    return world.instruction if instructions_of(spec.observations) else None
