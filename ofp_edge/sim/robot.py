"""SimulatedRobot moves the world through the interface that every robot has."""

from __future__ import annotations

import math
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError, SpecMismatch
from ofp_edge.runtime.camera import Clock
from ofp_edge.runtime.robot import Outcome, RobotState
from ofp_edge.sim.open import shared_world
from ofp_edge.sim.world import World
from ofp_edge.spec import PolicySpec


class SimulatedRobot:
    """An EpisodicRobot whose every `send` advances the physics by one control step.

    The physics of a control step take no time here, but on time.monotonic_ns the end of a step must
    not be seen before the step is over. There an action is executed by the first call, of `state`
    or `send`, half a step later or more, so that between ticks T and T + dt cameras and `state` see
    the world at T.

    In a rig, driver is "ofp_edge.sim.robot:SimulatedRobot", and the options are task, world (shared
    with the camera by name), seed (of the first episode) and delay_ms: the robot moves so much
    later than it is told, whole control steps; before its first command it stays. `clock` stamps
    the states.
    """

    stops_by_itself = True  # its world is gone with its process

    def __init__(
        self,
        spec: PolicySpec,
        *,
        task: str,
        world: str = "demo",
        seed: int = 0,
        delay_ms: float = 0.0,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        self._delay_steps = _whole_steps(delay_ms, spec.dt_ns)
        self._stay = _stay(spec)
        self.world: World = shared_world(world, task, seed)
        self._clock = clock
        states = spec.states
        if [field.name for field in states] != ["state"]:
            raise SpecMismatch(
                "simulated robot, state fields", ["state"], [field.name for field in states]
            )
        self._dim = states[0].shape[0]
        self.world.state(self._dim)  # a length that the world does not have is refused here
        if spec.action_dim != self.world.action_dim:
            raise SpecMismatch(
                "simulated robot, action_dim", self.world.action_dim, spec.action_dim
            )
        if spec.control_hz != self.world.task.control_hz:
            raise SpecMismatch(
                f"simulated robot, control_hz of {task}",
                self.world.task.control_hz,
                spec.control_hz,
            )
        self._stopped = False
        self._later = clock is time.monotonic_ns
        self._half_ns = spec.dt_ns // 2
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Begin the episode that `seed` names."""
        self.world.reset(seed)
        self._stopped = False
        self._waiting: NDArray[np.float32] | None = None
        self._sent_ns = 0
        self._told = deque([self._stay] * self._delay_steps)

    def state(self) -> RobotState:
        """Return the "state" field, true now."""
        if self._waiting is not None and self._clock() - self._sent_ns >= self._half_ns:
            self._execute()
        return RobotState(self._clock(), {"state": self.world.state(self._dim)})

    def send(self, action: NDArray[np.float32]) -> None:
        """Send an action (action_dim,) in raw units, clipped to [-1, 1]. Raises RobotError on NaN,
        or once stopped."""
        if self._stopped:
            raise RobotError("the simulated robot is stopped. Reset it first.")
        if not self._later:
            self._move(action)
            return
        if self._waiting is not None:
            self._execute()
        self._waiting, self._sent_ns = action.copy(), self._clock()

    def _execute(self) -> None:
        action, self._waiting = self._waiting, None
        assert action is not None
        self._move(action)

    def _move(self, action: NDArray[np.float32]) -> None:
        self._told.append(action.copy())
        if (now := self._told.popleft()) is not None:
            self.world.step(now)

    def outcome(self) -> Outcome:
        """Say how the episode stands."""
        return Outcome(self.world.success, self.world.over)

    def stop(self) -> None:
        """Stop the robot until the next reset."""
        self._stopped, self._waiting = True, None
        self._told.clear()

    def close(self) -> None:
        """Release nothing: the world stays for the next robot."""
        self.stop()


def _whole_steps(delay_ms: float, dt_ns: int) -> int:
    steps = delay_ms * 1e6 / dt_ns if math.isfinite(delay_ms) else -1.0
    if steps < 0 or abs(steps - round(steps)) > 1e-6:
        raise RobotError(
            f"simulated robot, delay_ms: expected whole control steps of {dt_ns / 1e6:g} ms, "
            f"got {delay_ms:g}."
        )
    return round(steps)


def _stay(spec: PolicySpec) -> NDArray[np.float32] | None:
    """The command that moves nothing; None where only the robot's last goal does."""
    values = [field.hold for field in spec.actions for _ in range(field.shape[0])]
    return None if None in values else np.asarray(values, np.float32)
