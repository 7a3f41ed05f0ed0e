"""A camera and a robot that a rig can name, on the real clock: 60 Hz, a hand that stands."""

import time

import numpy as np

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.remarks import Remarks
from ofp_edge.runtime.robot import RobotState
from tests.synthetic import CAMERA

PERIOD_NS = 1_000_000_000 // 60
AGE_NS = 3_000_000

RIG = """
schema_version = 1
[robot]
driver = "tests.runtime.still:StillRobot"
[cameras.front]
driver = "tests.runtime.still:StillCamera"
[timing]
latency_ms = 50.0
max_plan_age_ms = 4000.0
[safety.limits.move]
max_velocity = 10.0
"""


class StillCamera:
    """A new frame every sixtieth of a second, 3 ms old when it arrives. It remarks once."""

    noise_free = True

    def __init__(self, name, clock, parameters):
        self._clock, self._last = clock, -1
        self.parameters: CameraParameters = CAMERA
        self.remarks = Remarks()
        self._depth = np.random.default_rng(0).integers(500, 999, (24, 32), dtype=np.uint16)

    def start(self):
        self.remarks.say("metadata absent", "it is no camera")

    def read(self, timeout_ms):
        deadline = self._clock() + round(timeout_ms * 1e6)
        while (number := (self._clock() - AGE_NS) // PERIOD_NS) == self._last:
            if self._clock() >= deadline:
                return None
            time.sleep(0.0005)
        self._last = number
        return Frame(self._depth, None, number * PERIOD_NS, number)

    def close(self):
        pass


class StillRobot:
    """Takes 1 ms to send."""

    def __init__(self, spec):
        pass

    def state(self):
        return RobotState(time.monotonic_ns(), {"state": np.full(4, 0.1, np.float32)})

    def send(self, action):
        time.sleep(0.001)

    def stop(self):
        pass

    def close(self):
        pass
