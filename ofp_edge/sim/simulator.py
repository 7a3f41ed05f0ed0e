"""The world, the cameras and the robot of one task on a simulated clock, for evaluation and
collection."""

from __future__ import annotations

from dataclasses import dataclass

from ofp_edge.runtime.camera import Clock
from ofp_edge.sim.camera import SimulatedCamera, start_cameras
from ofp_edge.sim.open import shared_world
from ofp_edge.sim.robot import SimulatedRobot
from ofp_edge.sim.tasks import AnyTask, find_task
from ofp_edge.sim.world import World
from ofp_edge.spec import PolicySpec


class ManualClock:
    """A clock that moves only when `advance` moves it. Call it for the time in ns."""

    def __init__(self, start_ns: int = 10**12) -> None:
        self.now_ns = start_ns

    def __call__(self) -> int:
        """Return the time in ns."""
        return self.now_ns

    def advance(self, ns: int) -> None:
        """Let `ns` nanoseconds pass."""
        self.now_ns += ns


@dataclass(frozen=True)
class Simulator:
    """One task, ready to run. `cameras` are started, under the names that the policy's spec has."""

    task: AnyTask
    clock: Clock
    world: World
    cameras: dict[str, SimulatedCamera]
    robot: SimulatedRobot

    def close(self) -> None:
        """Stop the cameras; the world stays in memory for the next simulator."""
        for camera in self.cameras.values():
            camera.close()
        self.robot.close()


def open_simulator(
    task: str, spec: PolicySpec, clock: Clock, *, seed: int = 0, depth_by: str | None = None,
    world: str | None = None, delay_ms: float = 0.0,
) -> Simulator:  # fmt: skip
    """Build and start a simulator. Raises UnknownName for a task, SpecMismatch for a policy that
    does not fit it.

    Each episode calls `simulator.robot.reset(seed)`, then `read(0)` of every camera and
    `robot.send(action)` once in each control step, moving the clock by `spec.dt_ns`. `world` names
    the world that the simulator lives in, by default the task's: two simulators at a time need two.
    delay_ms: the robot's own, see SimulatedRobot.
    """
    found = find_task(task)
    world = world or task
    robot = SimulatedRobot(spec, task=task, world=world, seed=seed, delay_ms=delay_ms, clock=clock)
    cameras = start_cameras(task, spec.observations, clock, world=world, depth_by=depth_by)
    return Simulator(found, clock, shared_world(world, task), cameras, robot)
