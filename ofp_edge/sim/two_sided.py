"""A Meta-World task with two ways: its expert first goes round a virtual post, left or right.

The post stands on the straight line from the hand to the object, so its place follows from what is
observed; it is no body in the physics, but a hand that enters it has failed. The side is drawn from
the seed and shows in nothing that is observed before the hand swerves. Of a task that is told, an
instruction names it, and a hand that passes on the other side has failed. Past the post the task's
own expert takes over; height and gripper follow that expert from the start.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.sim.metaworld import MetaWorld
from ofp_edge.sim.sides import Sides
from ofp_edge.sim.tasks import Detour, Task
from ofp_edge.sim.world import SidedWorld

_STREAM = 13
_UNDECIDED = 0.05  # of the bell
_LEAD_M = 0.05  # how far the hand lags behind the target that actions move
_FEEDBACK = 0.2


class TwoSidedWorld(MetaWorld, SidedWorld):
    """A world with a post; see the module. `task.detour` has the numbers."""

    task: Task

    def __init__(self, task: Task, seed: int = 0) -> None:
        self._detour = task.detour or Detour()
        super().__init__(task, seed)

    def _reset(self, seed: int) -> None:
        super()._reset(seed)
        detour, random = self._detour, np.random.default_rng([seed, _STREAM])
        self._start = self._observation[:2].copy()
        away = self._observation[4:6] - self._start
        self._forward = away / np.linalg.norm(away)
        x, y = (self._start + detour.ahead_m * self._forward).tolist()
        self._sides = Sides((x, y), detour.radius_m, (self._forward[0], self._forward[1]))
        # Only the expert knows these: its side and its manner.
        side = 1.0 if random.random() < detour.right else -1.0
        spread = float(np.clip(random.standard_normal(), -2, 2))
        self._pass = side * (detour.pass_m + detour.spread_m * spread)
        self._speed = random.uniform(*detour.speed) * self.task.step_m

    def _step(self, action: NDArray[np.float32]) -> None:
        before = self._observation[:2].copy()
        super()._step(action)
        way = np.stack([before, self._observation[:2]])
        if self._sides.collides(way) or self._passes_wrongly(way):
            self.failed, self.success = True, False

    def _passes_wrongly(self, way: NDArray[np.float64]) -> bool:
        lateral = self._sides.lateral(way) if self.task.told else None
        return lateral is not None and (lateral > 0) != (self._pass > 0)

    @property
    def instruction(self) -> str | None:
        """The side that this episode asks for, in words; None where nothing names it."""
        return self.task.instructions[int(self._pass > 0)] if self.task.told else None

    def expert_action(self) -> NDArray[np.float32]:
        """Return the action (4,) in the horizontal plane along the bell until the post is
        passed."""
        action = super().expert_action()
        along, across = self._along_and_across()
        if along + _LEAD_M > self._detour.ahead_m + 2 * self._detour.width_m:
            return action
        ahead = along + _LEAD_M
        slope = self._way(ahead + self._speed / 2) - self._way(ahead - self._speed / 2)
        sideways = slope + _FEEDBACK * (self._way(along) - across)
        forward = np.sqrt(max(self._speed**2 - sideways**2, (0.3 * self._speed) ** 2))
        right = np.array([self._forward[1], -self._forward[0]])
        move = (forward * self._forward + sideways * right) / self.task.step_m
        action[:2] = np.clip(move, -1.0, 1.0)
        return action

    @property
    def sides(self) -> Sides:
        """The post, which is passed on the way to the object."""
        return self._sides

    @property
    def undecided(self) -> bool:
        """True before the expert swerves, where nothing names the side."""
        if self.task.told:
            return False
        ahead = self._along_and_across()[0] + _LEAD_M
        return bool(ahead < self._detour.ahead_m and self._bell(ahead) < _UNDECIDED)

    @property
    def place(self) -> NDArray[np.float64]:
        """The place (2,) of the target that actions move and the hand follows."""
        target: NDArray[np.float64] = self.data.mocap_pos[0, :2].copy()
        return target

    def _along_and_across(self) -> tuple[float, float]:
        (fx, fy), (x, y) = self._forward, self._observation[:2] - self._start
        return float(x * fx + y * fy), float(x * fy - y * fx)

    def _bell(self, along: float) -> float:
        return float(np.exp(-(((along - self._detour.ahead_m) / self._detour.width_m) ** 2)))

    def _way(self, along: float) -> float:
        return self._pass * self._bell(along)
