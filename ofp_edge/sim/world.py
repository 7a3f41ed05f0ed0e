"""The simulated world: one Meta-World task, reset by seed, moved one control step at a time."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError, SpecMismatch
from ofp_edge.extras import require
from ofp_edge.sim.fields import FULL_DIM, HAND_DIM
from ofp_edge.sim.gl import choose_depth_by
from ofp_edge.sim.tasks import Task, find_task

ACTION_DIM = 4


class World:
    """A running Meta-World task. Same seed, same episode, bit for bit, whatever came before.

    `version` rises with every reset and step. A camera may look (holding `changed`) from another
    thread than the one that steps; everything else belongs to one thread.
    """

    def __init__(self, task: Task, seed: int = 0) -> None:
        choose_depth_by()  # before mujoco is imported and loads a GL library
        self._mujoco = require("mujoco", "sim")
        environments = require("metaworld.env_dict", "sim").ALL_V3_ENVIRONMENTS
        policies = require("metaworld.policies", "sim").ENV_POLICY_MAP
        self.task = task
        self.changed = threading.Condition()
        self.version = 0
        # The experts ask for more than an action can be, on purpose; what they ask is clipped.
        warnings.filterwarnings("ignore", message="Constant.s. may be too high")
        env = environments[task.env_name]()
        # Draws its layout from env.seed(); reset(seed=) is ignored by Meta-World.
        env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, True, True
        # The goal is in the observation (the experts need it); the cached space would clip it to 0.
        env._partially_observable = False
        env.__dict__.pop("sawyer_observation_space", None)
        env.max_path_length = 10**9  # `over` is ours
        if task.layout is not None:
            low, high = (np.asarray(bound) for bound in task.layout)
            space = require("gymnasium.spaces", "sim").Box(low, high, dtype=np.float64)
            env._random_reset_space = space
        self._env: Any = env
        self._expert: Any = policies[task.env_name]()
        self.reset(seed)

    @property
    def model(self) -> Any:
        """The MjModel."""
        return self._env.model

    @property
    def data(self) -> Any:
        """The MjData. Hold `changed` while you read it from another thread."""
        return self._env.data

    def reset(self, seed: int) -> None:
        """Begin the episode that `seed` names."""
        with self.changed:
            self._env.seed(int(seed))
            self._env.reset()
            # reset() moves bodies after its last forward pass, and stacks an older observation.
            self._mujoco.mj_forward(self.model, self.data)
            self._env._get_obs()
            self._observation: NDArray[np.float64] = self._env._get_obs()
            self.seed, self.steps, self.success = int(seed), 0, False
            self._tell()

    def step(self, action: NDArray[np.float32]) -> None:
        """Hold `action` (4,), clipped to [-1, 1], for one control step. RobotError on NaN."""
        if action.shape != (ACTION_DIM,) or not np.isfinite(action).all():
            raise RobotError(
                f"simulated robot: expected {ACTION_DIM} finite numbers, got {action}."
            )
        clipped = np.clip(action, -1.0, 1.0)
        with self.changed:
            for _ in range(self.task.repeat):
                self._observation, _, _, _, info = self._env.step(clipped)
                self.success = self.success or bool(info["success"])
            self.steps += 1
            self._tell()

    @property
    def over(self) -> bool:
        """Whether the episode has succeeded or used up its steps."""
        return self.success or self.steps >= self.task.max_steps

    def state(self, dim: int) -> NDArray[np.float32]:
        """The "state" field: (4,) what a robot knows, or (39,) everything. See sim/fields.py."""
        if dim not in (HAND_DIM, FULL_DIM):
            raise SpecMismatch("observation 'state', shape", f"({HAND_DIM},) or ({FULL_DIM},)", dim)
        return self._observation[:dim].astype(np.float32)

    def expert_action(self) -> NDArray[np.float32]:
        """(4,) what Meta-World's scripted expert would do now, in [-1, 1]."""
        action = np.asarray(self._expert.get_action(self._observation.copy()), dtype=np.float32)
        return np.clip(action, np.float32(-1.0), np.float32(1.0))

    def _tell(self) -> None:
        self.version += 1
        self.changed.notify_all()


_WORLDS: dict[str, World] = {}


def shared_world(name: str, task: str, seed: int = 0) -> World:
    """The world of this name in this process: made once, then shared by robot and camera.

    Making one takes a third of a second and 26 MB; a reset costs 20 ms.
    """
    if name not in _WORLDS:
        _WORLDS[name] = World(find_task(task), seed)
    world = _WORLDS[name]
    if world.task.name != find_task(task).name:
        raise SpecMismatch(f"simulated world {name!r}, task", world.task.name, task)
    return world
