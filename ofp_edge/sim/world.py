"""A simulated world: one task, reset by seed, moved one control step at a time.

A Meta-World task runs in physics (sim/metaworld.py), so does one of the Adroit hand
(sim/adroit.py), a planar one in a few lines of arithmetic (sim/planar.py). The code that collects,
evaluates and renders knows this interface alone.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError
from ofp_edge.sim.berths_task import BerthsTask
from ofp_edge.sim.planar_task import PlanarTask
from ofp_edge.sim.sides import Sides
from ofp_edge.sim.tasks import AnyTask, PhysicsTask, Task


class World(ABC):
    """A running task. The same seed gives the same episode, bit for bit, whatever came before.

    `version` rises with every reset and step. A camera may look (holding `changed`) from another
    thread than the one that steps; everything else belongs to one thread.
    """

    task: AnyTask
    action_dim: int

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.version = 0
        self.steps = 0
        self.success = False
        self.failed = False

    def reset(self, seed: int) -> None:
        """Begin the episode that `seed` names."""
        with self.changed:
            self.steps, self.success, self.failed = 0, False, False
            self._reset(int(seed))
            self._tell()

    def step(self, action: NDArray[np.float32]) -> None:
        """Hold `action` (action_dim,), clipped to [-1, 1], for one step. Raises RobotError on
        NaN."""
        if action.shape != (self.action_dim,) or not np.isfinite(action).all():
            raise RobotError(
                f"simulated robot: expected {self.action_dim} finite numbers, got {action}."
            )
        with self.changed:
            self._step(np.clip(action, -1.0, 1.0))
            self.steps += 1
            self._tell()

    @property
    def over(self) -> bool:
        """Whether the episode has succeeded, failed or used up its steps."""
        return self.success or self.failed or self.steps >= self.task.max_steps

    @abstractmethod
    def state(self, dim: int) -> NDArray[np.float32]:
        """Return the "state" field (dim,). Raises SpecMismatch on a length that the task does not
        have."""

    @abstractmethod
    def expert_action(self) -> NDArray[np.float32]:
        """Return what the scripted expert would do now, (action_dim,) in [-1, 1]."""

    @property
    def instruction(self) -> str | None:
        """What this episode asks for, of the task's instructions; None where it has none."""
        return None

    @property
    def sides(self) -> Sides | None:
        """The obstacle that this episode's expert passes on one side or the other, if any."""
        return None

    @property
    def undecided(self) -> bool:
        """Whether there are two sides and the hand's place does not show the expert's yet."""
        return False

    def plan_side(self, actions: NDArray[np.float32]) -> int | None:
        """Return the side on which the plan (H, action_dim) passes the obstacle: -1 left, +1
        right, 0 when it collides; None without sides, and when the plan does not reach the obstacle
        or is past it."""
        return None

    @abstractmethod
    def _reset(self, seed: int) -> None: ...

    @abstractmethod
    def _step(self, action: NDArray[np.float32]) -> None: ...

    def _tell(self) -> None:
        self.version += 1
        self.changed.notify_all()


class SidedWorld(World):
    """A world with an obstacle that is passed on one side or the other, by deltas in a plane."""

    task: Task | PlanarTask

    @property
    @abstractmethod
    def sides(self) -> Sides:
        """The obstacle; see World."""

    @property
    @abstractmethod
    def place(self) -> NDArray[np.float64]:
        """The place (2,), in metres, where a plan begins, in the sides' plane."""

    def plan_path(
        self, actions: NDArray[np.float32], place: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return the way (H + 1, 2), in metres, of `actions` (H, action_dim) from `place`, by
        default from the present one. The way is kinematic: every delta counts as executed."""
        start = self.place if place is None else place
        moves = self.task.step_m * np.clip(actions[:, :2].astype(np.float64), -1.0, 1.0)
        path: NDArray[np.float64] = start + np.vstack([np.zeros((1, 2)), np.cumsum(moves, axis=0)])
        return path

    def plan_side(self, actions: NDArray[np.float32]) -> int | None:
        """Return the side of a plan; see World."""
        return self.sides.side(self.plan_path(actions))


class SeenWorld(World):
    """A world that cameras can look at, from the views of its task."""

    task: PhysicsTask | BerthsTask


class PaintedWorld(SeenWorld):
    """A world on the plane z = 0, which is all that cameras see of it."""

    task: BerthsTask

    @abstractmethod
    def paint(self, places: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the colours (N, 3), 0..255, that places (N, 2) in the plane have now. Hold
        `changed` meanwhile."""


class PhysicsWorld(SeenWorld):
    """A world in MuJoCo. camera: the name of a camera of its model, which renderers move to their
    view."""

    task: PhysicsTask
    camera: str
    _env: Any  # the package's environment

    @property
    def model(self) -> Any:
        """The MuJoCo model (MjModel)."""
        return self._env.model

    @property
    def data(self) -> Any:
        """The MuJoCo data (MjData). Hold `changed` while you read it from another thread."""
        return self._env.data
