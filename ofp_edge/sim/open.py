"""Worlds opened by their task, and the one that robot and camera share."""

from __future__ import annotations

from ofp_edge.errors import SpecMismatch
from ofp_edge.sim.tasks import AnyTask, find_task
from ofp_edge.sim.world import World

_WORLDS: dict[str, World] = {}


def open_world(task: AnyTask, seed: int = 0) -> World:
    """Open a new world of the task, at the start of episode `seed`."""
    from ofp_edge.sim.adroit import AdroitWorld
    from ofp_edge.sim.adroit_task import AdroitTask
    from ofp_edge.sim.berths import BerthsWorld
    from ofp_edge.sim.berths_task import BerthsTask
    from ofp_edge.sim.metaworld import MetaWorld
    from ofp_edge.sim.planar import PlanarWorld
    from ofp_edge.sim.planar_task import PlanarTask
    from ofp_edge.sim.two_sided import TwoSidedWorld

    if isinstance(task, BerthsTask):
        return BerthsWorld(task, seed)
    if isinstance(task, PlanarTask):
        return PlanarWorld(task, seed)
    if isinstance(task, AdroitTask):
        return AdroitWorld(task, seed)
    return TwoSidedWorld(task, seed) if task.detour else MetaWorld(task, seed)


def shared_world(name: str, task: str, seed: int = 0) -> World:
    """Return the world of this name in this process: it is made once, then shared by robot and
    camera.

    Making a Meta-World world takes a third of a second and 26 MB; a reset costs 20 ms.
    """
    if name not in _WORLDS:
        _WORLDS[name] = open_world(find_task(task), seed)
    world = _WORLDS[name]
    if world.task.name != find_task(task).name:
        raise SpecMismatch(f"simulated world {name!r}, task", world.task.name, task)
    return world
