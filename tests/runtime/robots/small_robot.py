"""A robot of a few lines for another process: what it is told is what it says. No torch, no SDK."""

import dataclasses
import os
import time
from pathlib import Path

import numpy as np

from ofp_edge.errors import RobotError
from ofp_edge.runtime.robot import RobotState


class SmallRobot:
    """diary: a file in which it writes what happens to it. `fail`: what goes wrong, and when."""

    def __init__(self, spec, *, diary, fail=""):
        self._dim, self._diary, self._fail = spec.action_dim, Path(diary), fail
        self._now = np.zeros(self._dim, np.float32)
        print("a robot may print")
        self._write(f"open {os.getpid()}")
        if fail == "open":
            raise RobotError("no such arm. Plug it in.")

    def _write(self, line):
        with self._diary.open("a") as file:
            file.write(line + "\n")

    def state(self):
        if self._fail == "state" and self._now[0] > 0:
            raise RobotError("the bus is gone. Check the cable.")
        if self._fail == "mute":
            time.sleep(2)
        if self._fail == "slow":
            time.sleep(0.02)
        if self._fail == "hang" and self._now[0] > 0:
            time.sleep(3)
        if self._fail == "die" and self._now[0] > 0:
            os._exit(7)
        return RobotState(time.monotonic_ns(), {"state": np.resize(self._now, 4)})

    def send(self, action):
        self._now = action.copy()
        self._write(f"send {action[0]:g}")

    def stop(self):
        self._write("stop")

    def close(self):
        self._write("close")


@dataclasses.dataclass
class FakeMotor:
    norm_mode: str
    model: str = "sts3215"


@dataclasses.dataclass
class FakeRange:
    range_min: int = 1000
    range_max: int = 3000


class FakeBus:
    """The part of LeRobot's motors' bus that the adapter uses: a in degrees, d a gripper."""

    model_resolution_table = {"sts3215": 4096}

    def __init__(self):
        modes = ("degrees", "range_m100_100", "range_m100_100", "range_0_100")
        self.motors = {name: FakeMotor(mode) for name, mode in zip("abcd", modes, strict=True)}
        self.calibration = {name: FakeRange() for name in "abcd"}
        self.ticks = dict.fromkeys("abcd", 2000)

    def sync_read(self, register, normalize=True):
        assert (register, normalize) == ("Present_Position", False)
        return self.ticks


@dataclasses.dataclass
class FakeConfig:
    port: str
    id: str = "x"
    calibration_dir: Path | None = None
    max_relative_target: float | None = None
    ticks: dict | None = None


class LeRobotLike:
    """The part of LeRobot's Robot that the adapter uses."""

    config_class = FakeConfig
    action_features = {"a.pos": float, "b.pos": float, "c.pos": float, "d.pos": float}
    observation_features = {**action_features, "load": float}
    is_connected = False

    def __init__(self, config):
        self.config, self.now = config, dict.fromkeys(self.action_features, 1.0)

    def connect(self, calibrate=True):
        assert not calibrate
        if self.config.port == "gone":
            raise ConnectionError("could not connect on port gone")
        self.is_connected = True

    def get_observation(self):
        return {**self.now, "load": 7.0}

    def send_action(self, action):
        self.now = dict(action)
        return action

    def disconnect(self):
        self.is_connected = False


class LeRobotWithBus(LeRobotLike):
    """One whose motors stand on a bus."""

    def __init__(self, config):
        super().__init__(config)
        self.bus = FakeBus()
        self.bus.ticks.update(config.ticks or {})


class RangedRobot(SmallRobot):
    """One that says what it can be told."""

    def __init__(self, spec, *, ends, **options):
        super().__init__(spec, **options)
        self.goal_range = ends
