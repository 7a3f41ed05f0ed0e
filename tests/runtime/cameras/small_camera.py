"""A camera of a few lines for another process: its pictures are a function of their number."""

import os
import time

import numpy as np

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.remarks import Remarks

POSE = ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))
HEIGHT, WIDTH = 480, 640


def depth_of(number):
    return np.random.default_rng(number).integers(1, 60000, (HEIGHT, WIDTH), dtype=np.uint16)


def color_of(number):
    rng = np.random.default_rng(number + 10**6)
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


class SmallCamera:
    """diary: a file in which it writes what happens to it. shows: "depth", "color" or both.
    fail: what goes wrong at the fourth frame."""

    noise_free = True

    def __init__(self, name, clock, parameters, *, diary, shows="depth color", fail="", wait_s=0.0):
        self._clock, self._diary, self._shows, self._fail = clock, diary, shows, fail
        self._number, self._wait_s, self.remarks = 0, wait_s, Remarks()
        self.parameters = CameraParameters(WIDTH, HEIGHT, 600.0, 600.0, 320.0, 240.0, 0.001,
                                           parameters.get("base_frame", "base"), POSE)  # fmt: skip
        print("a camera may print")
        self._write(f"open {os.getpid()}")

    def _write(self, line):
        with open(self._diary, "a") as file:
            file.write(line + "\n")

    def start(self):
        if self._fail == "start":
            raise CameraError("no such camera. Plug it in.")
        if self._fail == "slow start":
            time.sleep(60)
        self.remarks.say("restart", "it fell silent")

    def read(self, timeout_ms):
        time.sleep(self._wait_s)
        self._number += 1
        if self._number > 3:
            if self._fail == "read":
                raise CameraError("the cable is gone.\nCheck it.")
            if self._fail == "bug":
                raise ZeroDivisionError("a bug")
            if self._fail == "die":
                os._exit(7)
            if self._fail == "mute":
                time.sleep(timeout_ms / 1e3)
                return None
            if self._fail == "grow":
                return Frame(np.ones((HEIGHT * 4, WIDTH * 4), np.uint16), None, self._clock(), 9)
            if self._fail == "form":
                return Frame(np.ones((HEIGHT, WIDTH), np.float32), None, self._clock(), 9)
        n, none = self._number, np.zeros((HEIGHT, WIDTH), np.uint16)
        color = color_of(n) if "color" in self._shows else None
        return Frame(depth_of(n) if "depth" in self._shows else none, color, self._clock(), n,
                     self._clock() - 5_000_000, {"depth": depth_of(n + 7)})  # fmt: skip

    def close(self):
        self._write("close")
