"""The process of a RemoteRobot: `python -m ofp_edge.runtime.robots.host FD`, which RemoteRobot
starts.

It has one thread: between two states it takes what has come and obeys the newest action. Whatever
ends it (the other end or the control process is gone, an error here, a signal), it first stops the
robot and then closes it, and reports that to whoever listens.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from ofp_edge.errors import OfpError
from ofp_edge.rig.file import RobotEntry
from ofp_edge.runtime.robot import Robot, build_robot, find_robot, goal_range_of
from ofp_edge.runtime.robots.wire import LARGEST_BYTES, WireError, decode, encode, received
from ofp_edge.runtime.supervisor.line import AT_REST, HOST, say
from ofp_edge.spec import Interface, PolicySpec
from ofp_edge.strict import read_as, shown

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT)

_SLOWEST_HZ, _FASTEST_HZ = 0.001, 1e5


@dataclass(frozen=True)
class Start:
    """The first message: which robot to open, and how often to ask it for its state."""

    spec: dict[str, Any]
    robot: str
    options: dict[str, Any]
    state_hz: float

    def __post_init__(self) -> None:
        if not _SLOWEST_HZ <= self.state_hz <= _FASTEST_HZ:
            expected = f"{_SLOWEST_HZ:g}..{_FASTEST_HZ:g} Hz"
            raise WireError(f"state_hz: expected {expected}, got {self.state_hz!r}.")


class Host:
    """The server of one robot to the other end of `connection`, until that closes or a signal
    comes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._parent = os.getppid()
        self._line: socket.socket | None = None  # to the run's supervisor, where there is one
        self._signal = ""
        self._stopped = False
        self._wakes, self._woken = socket.socketpair()

    def obey_signals(self) -> None:
        """Make a signal end `serve`, and not the process, from now on."""
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._heed)

    def serve(self, robot: Robot, period_s: float) -> None:
        """Push states and obeys actions."""
        due = time.monotonic()
        while not self._signal:
            state = robot.state()
            if not self._push(encode("state", state.values, t_ns=state.t_ns)):
                return
            due = max(due + period_s, time.monotonic())
            left_s = 1.0
            while not self._signal and left_s > 0:  # once at least, however long the state took
                left_s = max(0.0, due - time.monotonic())
                ready = select.select([self._connection, self._wakes], [], [], left_s)[0]
                if not ready:
                    break
                if self._connection in ready and not self._take(robot):
                    return
            if os.getppid() != self._parent:  # also where one of its children keeps the socket open
                return
        self.complain(f"the robot's process was asked to end by {self._signal}.")

    def say_range(self, low: list[float], high: list[float]) -> None:
        """Let the other end know, before the first state, what the robot can be told."""
        self._push(encode("goal_range", {"low": np.asarray(low), "high": np.asarray(high)}))

    def complain(self, line: str) -> None:
        """Let the control thread know, at its next tick, why there will be no more states."""
        with contextlib.suppress(OSError):
            message = encode("error", line=" ".join(line.split()))
            self._connection.send(message, socket.MSG_DONTWAIT)

    def bring_to_rest(self, robot: Robot) -> bool:
        """Stop and close the robot, whatever came before, and report to the other end and to the
        supervisor when it accepted both: some drivers only know in `close` that a stop arrived."""
        try:
            if not self._stopped:
                robot.stop()
            robot.close()
        except Exception as cause:
            if not isinstance(cause, OfpError):
                traceback.print_exc()
            self.complain(f"{type(cause).__name__}: {cause}")
            with contextlib.suppress(Exception):
                robot.close()
            return False
        say(self._connection, encode("stopped"))
        if self._line is not None:
            say(self._line, AT_REST)
        return True

    def _heed(self, number: int, _: FrameType | None) -> None:
        self._signal = self._signal or signal.Signals(number).name

    def _push(self, message: bytes) -> bool:
        """Push a state; one that nobody picks up is no loss, because the next is newer. Return
        False when there is no other end."""
        try:
            self._connection.send(message, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except ConnectionError:
            return False
        return True

    def _take(self, robot: Robot) -> bool:
        """Take everything that has come, of single actions only the last, and of those with others
        to come each in its turn. Return False when there is no other end."""
        action: Any = None
        stop = False
        while True:
            try:
                message, handle = received(self._connection, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionError:
                return False
            if not message:
                return False
            kind, values, arrays = decode(message)
            if kind == "stop":
                stop = True
            elif kind == "supervisor":
                if handle is None:
                    raise WireError("a message that can't be read: a supervisor without its line.")
                self._line = socket.socket(fileno=handle)
                say(self._line, HOST + str(os.getpid()).encode())
            elif kind == "action" and list(arrays) == ["action"]:
                action = arrays["action"]
            elif kind == "ahead" and list(arrays) in (["action"], ["action", "coming"]):
                if not stop and not self._stopped:
                    tick_ns, t_obs_ns = values.get("tick_ns"), values.get("t_obs_ns")
                    robot.send_ahead(arrays["action"], arrays.get("coming"), tick_ns, t_obs_ns)  # type: ignore[attr-defined]
            else:
                raise WireError(f"a message that can't be read: {shown(kind)} to a robot.")
        if stop and not self._stopped:
            robot.stop()
            self._stopped = True
        elif action is not None and not self._stopped:
            robot.send(action)
        return True


def main(connection: socket.socket) -> int:
    """Wait for the first message, open the robot that it names, and serve it. Return 0 when the
    robot was stopped in order."""
    host = Host(connection)
    try:
        _, values, _ = decode(connection.recv(LARGEST_BYTES))
    except (ConnectionError, WireError):
        return 1  # the other end is gone already
    robot: Robot | None = None
    rested = False
    try:
        start = read_as(Start, values, "the first message", WireError)
        kind = PolicySpec if "control_hz" in start.spec else Interface
        spec, entry = kind.from_json(start.spec), RobotEntry(start.robot, start.options)
        found = find_robot(entry)
        host.obey_signals()  # until here nothing is open, and a signal simply ends it
        robot = build_robot(found, entry, spec)
        if (ends := goal_range_of(robot, spec)) is not None:
            host.say_range(*ends)
        host.serve(robot, 1 / start.state_hz)
    except OfpError as cause:
        host.complain(str(cause))
    except Exception as cause:
        traceback.print_exc()  # a bug keeps its trace
        host.complain(f"{type(cause).__name__}: {cause}")
    finally:
        rested = robot is not None and host.bring_to_rest(robot)
    return 0 if rested else 1


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end:
        sys.exit(main(end))
