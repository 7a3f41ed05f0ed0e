"""Decision states of a two-sided task, from fresh expert episodes, and what the expert did next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.evaluate.asked import asked_of
from ofp_edge.evaluate.contestant import Contestant
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.observer import Observer
from ofp_edge.sim.fields import action_fields
from ofp_edge.sim.sides import Sides
from ofp_edge.sim.simulator import ManualClock, Simulator, open_simulator
from ofp_edge.sim.tasks import AnyTask
from ofp_edge.sim.world import SidedWorld


@dataclass(frozen=True, eq=False)
class Decision:
    """One state in which both sides are open.

    observations: per field (To, ...), oldest first, the first frame repeated before the start.
    demonstration: (H, A) what the expert did from here on, raw units.
    """

    observations: dict[str, NDArray[np.float32]]
    demonstration: NDArray[np.float32]
    sides: Sides
    place: NDArray[np.float64] = field(repr=False)
    world: SidedWorld = field(repr=False)

    def path(self, actions: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the path of `actions` from here, (H + 1, 2) metres."""
        return self.world.plan_path(actions, self.place)


def gather_decisions(
    task: str, contestant: Contestant, count: int, seeds: Sequence[int],
    progress: Progress = silent,
) -> list[Decision]:  # fmt: skip
    """Gather `count` decision states: all that an expert's episode has, of each seed in turn.

    Raises OfpError for a task without sides, or when the seeds do not suffice.
    """
    spec = contestant.spec
    clock = ManualClock()
    simulator = open_simulator(task, spec, clock)
    try:
        world = simulator.world
        if not isinstance(world, SidedWorld) or not world.task.two_sided:
            raise OfpError(f"{task} has no two sides to choose from. Give a two-sided task.")
        observer = Observer(
            spec,
            simulator.cameras,
            contestant.cameras,
            contestant.tolerance,
            {name: spec.dt_ns for name in spec.cameras},
            instruction=asked_of(world, spec),
        )
        found: list[Decision] = []
        for seed in seeds:
            found += _of_episode(simulator, world, observer, clock, seed)
            progress(min(len(found), count), count, "decision states")
            if len(found) >= count:
                return found[:count]
    finally:
        simulator.close()
    raise OfpError(f"--chunks {count}: this run's episodes have {len(found)} decision states.")


def _of_episode(
    simulator: Simulator, world: SidedWorld, observer: Observer, clock: ManualClock, seed: int
) -> list[Decision]:
    robot, spec = simulator.robot, observer.spec
    observer.forget()
    robot.reset(seed)
    observer.tell(asked_of(world, spec))
    frames: list[dict[str, NDArray[np.float32]]] = []
    actions: list[NDArray[np.float32]] = []
    open_at: list[tuple[int, Sides, NDArray[np.float64]]] = []
    while not world.over:
        clock.advance(spec.dt_ns)
        if world.undecided:
            open_at.append((len(actions), world.sides, world.place))
        elif open_at and len(actions) - open_at[-1][0] >= spec.plan_steps:
            break  # what the expert did is known
        if world.undecided:
            observer.poll(clock)
            seen = observer.prepare(robot.state())
            frames.append({name: array.copy() for name, array in seen.arrays.items()})
        action = world.expert_action()
        actions.append(action)
        robot.send(action)
    if world.failed:
        return []
    rest = np.tile(_holding(world.task), (spec.plan_steps, 1))
    done = np.concatenate([np.stack(actions), rest])
    decisions = []
    for k, sides, place in open_at:
        past = [frames[max(0, k - back)] for back in reversed(range(spec.n_obs_steps))]
        observations = {name: np.stack([frame[name] for frame in past]) for name in past[0]}
        chunk = done[k : k + spec.plan_steps].astype(np.float32)
        decisions.append(Decision(observations, chunk, sides, place, world))
    return decisions


def _holding(task: AnyTask) -> NDArray[np.float32]:
    """(A,) the action that means "stay"; 0 where there is none."""
    values = [field.hold or 0.0 for field in action_fields(task) for _ in range(field.shape[0])]
    return np.asarray(values, np.float32)
