"""What a loop is given in a schedule: a robot, a camera and a policy that misbehave on time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import CameraError, RobotError
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.robot import RobotState
from tests.attack.broken import Broken
from tests.attack.scenario import Scenario
from tests.attack.schedule import Trouble
from tests.attack.world import World
from tests.synthetic import CAMERA

Troubles = Callable[[], dict[str, Trouble]]


class Boom(Exception):
    """What a planner's thread dies of."""


class RoughRobot:
    """Reads and obeys late, wrongly or not at all; tells `watch` what it was told."""

    def __init__(self, world: World, clock: Any, troubles: Troubles, watch: Any) -> None:
        self.world, self.clock, self._troubles, self._watch = world, clock, troubles, watch
        self._obeyed_at = -1

    def state(self) -> RobotState:
        troubles = self._troubles()
        self._watch.reads()
        if self._obeyed_at != self._watch.tick:  # a period has passed
            self.world.obey(None, troubles)
        if "state_error" in troubles:
            raise RobotError("the robot does not answer")
        if (blocks := troubles.get("state_blocks")) is not None:
            self.clock.now_ns += int(3 * blocks.value * self.world.scenario.dt_ns)
        reading = self.world.reading(self.clock.now_ns, troubles)
        return RobotState(0, {}) if reading is None else reading

    def send(self, action: NDArray[np.float32]) -> None:
        troubles = self._troubles()
        self._watch.sends(action)
        if "send_error" in troubles:
            raise RobotError("the robot takes nothing")
        if (blocks := troubles.get("send_blocks")) is not None:
            self.clock.now_ns += int(4 * blocks.value * self.world.scenario.dt_ns)
        self.world.obey(action, troubles)
        self._obeyed_at = self._watch.tick + 1

    def stop(self) -> None:
        self._watch.stops()
        if "stop_error" in self._troubles():
            raise RobotError("the robot does not take its stop")

    def close(self) -> None:
        pass


class RoughCamera:
    """A picture every 0.7 periods, each another one; late, lost, old, repeated, frozen, from the
    future. frozen: when it showed the same for the fifth time in a row, or oftener."""

    parameters = CAMERA

    def __init__(
        self, scenario: Scenario, clock: Any, rng: np.random.Generator, troubles: Troubles
    ) -> None:
        self.scenario, self.clock, self._rng, self._troubles = scenario, clock, rng, troubles
        self._last_ns, self._next_ns, self._number = -1, 0, 0
        self._depth: NDArray[np.uint16] | None = None
        self._alike = 0
        self.frozen: set[int] = set()

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def read(self, timeout_ms: float) -> Frame | None:
        troubles, dt_ns = self._troubles(), self.scenario.dt_ns
        if "camera_error" in troubles:
            raise CameraError("camera 'front' is gone")
        t_ns = self.clock() - int(self._rng.random() * 0.2 * dt_ns)
        if "camera_lost" in troubles or self.clock() < self._next_ns:
            self.clock.now_ns = self.clock() + round(timeout_ms * 1e6)
            return None
        self._next_ns = self.clock() + int(0.7 * dt_ns)
        self._number += 1
        depth = self._rng.integers(400, 1000, (CAMERA.height, CAMERA.width), np.uint16)
        if "camera_freezes" in troubles and self._depth is not None:
            depth = self._depth.copy()
            self._alike += 1
        else:
            self._alike = 1
        self._depth = depth
        if troubles.keys() & {"camera_repeats", "camera_future", "camera_old"}:
            self._alike = -5  # which of these count is not said
        if self._alike >= 5:
            self.frozen.add(t_ns)
        if "camera_repeats" in troubles:
            t_ns = self._last_ns
        else:
            self._last_ns = t_ns
        if (ahead := troubles.get("camera_future")) is not None:
            t_ns += int((0.3 + 5 * ahead.value) * dt_ns)
        if (old := troubles.get("camera_old")) is not None:
            t_ns -= int(10 * old.value * dt_ns)
        return Frame(depth, None, t_ns, self._number)


class LoopWatch:
    """What the robot was told, held against what the state machine had decided."""

    def __init__(self, scenario: Scenario, clock: Any, dry_run: bool) -> None:
        self.scenario, self.clock, self.dry_run = scenario, clock, dry_run
        self.tick = -1
        self.stop_asked_at: int | None = None
        self.stopped = False
        self._command: Any = None
        self._tick_ns = 0
        self._sent = False
        self.unsent = False

    def reads(self) -> None:
        """The robot's state is read once a tick, at its beginning. unsent: the tick before had a
        command that the robot was never told."""
        self.tick += 1
        decided = self._command is not None and self._command.action is not None
        self.unsent = decided and not self._sent and not self.dry_run
        self._command, self._sent = None, False

    def decided(self, now_ns: int, command: Any) -> None:
        """The state machine has said what to do at this tick."""
        self._command, self._tick_ns = command, now_ns

    def sends(self, action: NDArray[np.float32]) -> None:
        """The robot is told to move."""
        command = self._command
        if self.stopped:
            raise Broken("sent after a stop", f"at tick {self.tick}")
        if self.dry_run:
            raise Broken("dry run", "something was sent")
        if command is None or command.action is None or self._sent:
            raise Broken("sent", "what was not decided at this tick")
        if command.kind == "stop" or action.tobytes() != command.action.tobytes():
            raise Broken("sent", f"{action} where {command.kind} {command.action} was decided")
        if not 0 <= self.clock() - self._tick_ns < self.scenario.dt_ns:
            raise Broken("slot", f"sent {(self.clock() - self._tick_ns) / 1e6:g} ms after its tick")
        if self.stop_asked_at is not None and self.tick > self.stop_asked_at:
            raise Broken("stops", f"sent {self.tick - self.stop_asked_at} ticks after a stop")
        self._sent = True

    def stops(self) -> None:
        """The robot is told to stop."""
        if self.dry_run:
            raise Broken("dry run", "the robot was stopped")
        self.stopped = True
