"""MetaWorld runs one Meta-World task in its physics, with its scripted expert."""

from __future__ import annotations

import sys
import warnings
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch
from ofp_edge.extras import require
from ofp_edge.sim.fields import FULL_DIM, HAND_DIM
from ofp_edge.sim.gl import choose_depth_by
from ofp_edge.sim.tasks import Task
from ofp_edge.sim.world import PhysicsWorld

ACTION_DIM = 4


class MetaWorld(PhysicsWorld):
    """A running Meta-World task."""

    task: Task
    action_dim = ACTION_DIM
    camera = "corner2"

    def __init__(self, task: Task, seed: int = 0) -> None:
        super().__init__()
        choose_depth_by()  # before mujoco is imported and loads a GL library
        self._mujoco = require("mujoco", "sim")
        environments = require("metaworld.env_dict", "sim").ALL_V3_ENVIRONMENTS
        policies = require("metaworld.policies", "sim").ENV_POLICY_MAP
        self.task = task
        # The experts ask for more than an action can be, on purpose; what they ask is clipped.
        warnings.filterwarnings("ignore", message="Constant.s. may be too high")
        env = environments[task.env_name]()
        # The layout comes from env.seed(); Meta-World ignores reset(seed=).
        env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, True, True
        # The goal is in the observation (the experts need it); the cached space would clip it to 0.
        env._partially_observable = False
        env.__dict__.pop("sawyer_observation_space", None)
        env.max_path_length = 10**9  # this world decides when an episode is over
        if task.layout is not None:
            low, high = (np.asarray(bound) for bound in task.layout)
            space = require("gymnasium.spaces", "sim").Box(low, high, dtype=np.float64)
            env._random_reset_space = space
        env.touching_object = partial(_touching_object, env)
        module = sys.modules[type(env).__module__]
        scipys = getattr(module, "Rotation", None)
        if scipys is not None and not isinstance(scipys, _Rotation):
            module.Rotation = _Rotation(scipys)  # type: ignore[attr-defined]
        self._env = env
        self._expert: Any = policies[task.env_name]()
        self.reset(seed)

    def _reset(self, seed: int) -> None:
        self._env.seed(seed)
        self._env.reset()
        # reset() moves bodies after its last forward pass, and stacks an older observation.
        self._mujoco.mj_forward(self.model, self.data)
        self._env._get_obs()
        self._observation: NDArray[np.float64] = self._env._get_obs()

    def _step(self, action: NDArray[np.float32]) -> None:
        for _ in range(self.task.repeat):
            self._observation, _, _, _, info = self._env.step(action)
            self.success = self.success or bool(info["success"])

    def state(self, dim: int) -> NDArray[np.float32]:
        """The "state" field: (4,) holds what a robot knows, (39,) everything. See sim/fields.py."""
        if dim not in (HAND_DIM, FULL_DIM):
            raise SpecMismatch("observation 'state', shape", f"({HAND_DIM},) or ({FULL_DIM},)", dim)
        return self._observation[:dim].astype(np.float32)

    def expert_action(self) -> NDArray[np.float32]:
        """Return what Meta-World's scripted expert would do now, (4,) in [-1, 1]."""
        action = np.asarray(self._expert.get_action(self._observation.copy()), dtype=np.float32)
        return np.clip(action, np.float32(-1.0), np.float32(1.0))


class _Rotation:
    """What a task's environment uses of scipy's Rotation. MuJoCo's matrices are orthogonal: asking
    whether they are took a fifth of such an environment's step."""

    def __init__(self, scipys: Any) -> None:
        self._from = partial(scipys.from_matrix, assume_valid=True)
        try:
            self._from(np.eye(3))
        except TypeError:  # before scipy 1.17
            self._from = scipys.from_matrix

    def from_matrix(self, matrix: NDArray[np.float64]) -> Any:
        """Return the rotation of an orthogonal matrix (3, 3)."""
        return self._from(matrix)


def _touching_object(env: Any, object_geom_id: int) -> bool:
    """Return what Meta-World's `touching_object` does, by arrays: its loops over contacts took a
    sixth of an episode's time."""
    geoms: NDArray[np.int32] = env.data.contact.geom  # (contacts, 2)
    with_object = (geoms == object_geom_id).any(1)
    for pad in ("leftpad_geom", "rightpad_geom"):
        touching = with_object & (geoms == env.data.geom(pad).id).any(1)
        rows = env.data.contact.efc_address[touching]
        if not 0 < sum(env.data.efc_force[rows]):
            return False
    return True
