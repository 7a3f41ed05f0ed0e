"""A robot that writes down what happens to it: "monotonic ns, pid, what", a line each. No SDK."""

import ctypes
import os
import time

import numpy as np

from ofp_edge.errors import RobotError
from ofp_edge.runtime.robot import RobotState

AFTER = 3  # sends: then something goes wrong


class DiaryRobot:
    """diary: the file. wrong: what goes wrong, in the first process that opens it, after three
    sends: "hang in send", "hold the GIL", "bug in state", "bug in send"; "slow stop"; "no stop"
    refuses every stop of the first process, "never stop" of all."""

    def __init__(self, spec, *, diary, wrong=""):
        self._diary, self._sends = diary, 0
        first = not os.path.exists(diary)
        self._wrong = wrong if first or wrong == "never stop" else ""
        self._write("open")

    def _write(self, what):
        with open(self._diary, "a") as file:
            file.write(f"{time.monotonic_ns()} {os.getpid()} {what}\n")

    def state(self):
        if self._wrong == "bug in state" and self._sends >= AFTER:
            raise ZeroDivisionError("a bug of the driver")
        return RobotState(time.monotonic_ns(), {"state": np.full(4, 0.1, np.float32)})

    def send(self, action):
        self._sends += 1
        self._write("send")
        if self._sends < AFTER:
            return
        if self._wrong == "bug in send":
            raise ZeroDivisionError("a bug of the driver")
        while self._wrong == "hang in send":
            time.sleep(60)
        while self._wrong == "hold the GIL":
            ctypes.PyDLL(None).sleep(60)

    def stop(self):
        if self._wrong in ("no stop", "never stop"):
            raise RobotError("the drive refuses.")
        if self._wrong == "slow stop":
            self._write("stopping")
            time.sleep(0.5)
        self._write("stop")

    def close(self):
        self._write("close")
