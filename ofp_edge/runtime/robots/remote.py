"""A robot in a process and an environment of its own: what it imports never meets the loop.

    control process                        socket pair          robot process (host.py)
    RemoteRobot --- "action", "stop" ----------->        ---> Robot.send, Robot.stop
                <-- "state", "error", "stopped" ---      <--- Robot.state, over and over

LeRobot, for one, needs Python 3.12 and torch, and the loop needs neither. States are pushed, so
that the control thread only ever picks up the newest; the socket's end stops the robot, also when
this process is killed. It stands still for sure when its process has said "stopped". In a rig:

    [robot]
    driver = "ofp_edge.runtime.robots.remote:RemoteRobot"
    [robot.options]
    python = "/home/me/lerobot/bin/python"    # an environment that has ofp-edge's base wheel too
    robot = "ofp_edge.runtime.robots.lerobot:LeRobot"
    [robot.options.options]
    robot = "lerobot.robots.so_follower:SOFollower"
    config = { port = "/dev/ttyACM0", id = "my_arm" }
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError
from ofp_edge.runtime.own_process import start_process
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.robots.wire import LARGEST_BYTES, WireError, decode, encode, pair
from ofp_edge.spec import Interface, PolicySpec
from ofp_edge.strict import shown

_CLOSE_S = 10.0
_ASKED_HZ = 10.0  # of a robot that is never sent an action
_FARTHEST_NS = 2**62


class RemoteRobot:
    """A robot in a process of its own; see `ofp_edge.runtime.robot.Robot`.

    `robot` is package.module:Class of the robot there, built with `options`. `python` is the
    interpreter of its environment, by default this one. `state_hz` is how often it is asked, by
    default twice the control rate. A state older than `max_age_ms`, by default five periods, raises
    RobotError. `start_s` is how long it may take to come up.
    """

    def __init__(
        self,
        spec: Interface,
        *,
        robot: str,
        options: dict[str, Any] | None = None,
        python: str = sys.executable,
        state_hz: float | None = None,
        max_age_ms: float | None = None,
        start_s: float = 60.0,
    ) -> None:
        self._name = robot
        self._shapes = {f.name: f.shape for f in spec.states}
        rate_hz = spec.control_hz if isinstance(spec, PolicySpec) else _ASKED_HZ
        self._max_age_ns = round(5e3 / rate_hz * 1e6 if max_age_ms is None else max_age_ms * 1e6)
        self._newest: RobotState | None = None
        self.goal_range: tuple[NDArray[Any], NDArray[Any]] | None = None  # said before any state
        self.foresees = False
        self._trouble = ""
        self._stopped = self._closed = self._rested = False
        self._socket, theirs = pair()
        start = encode(
            "start",
            spec=spec.to_json(),
            robot=robot,
            options=options or {},
            state_hz=2 * rate_hz if state_hz is None else state_hz,
        )
        self._process = start_process(
            python, "ofp_edge.runtime.robots.host", theirs, self._socket, RobotError
        )
        self._thread = threading.Thread(target=self._receive, name="remote robot", daemon=True)
        deadline = time.monotonic() + start_s
        try:
            with contextlib.suppress(ConnectionError):  # it has ended: the thread hears how
                self._socket.send(start)
            self._thread.start()
            while self._newest is None and not self._trouble and time.monotonic() < deadline:
                time.sleep(0.005)
            if self._newest is None:
                raise RobotError(self._trouble or f"{robot}: no state within {start_s:g} s.")
        except BaseException:  # a signal, too, leaves no process behind
            self.close()
            raise
        self._socket.setblocking(False)

    def supervised_by(self, line: socket.socket) -> None:
        """Let the robot's process report to the run's supervisor, when this process is gone, that
        it has stopped."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._socket, [encode("supervisor")], [line.fileno()])

    def state(self) -> RobotState:
        """Return the newest state that its process has sent; never wait for it."""
        newest = self._newest
        if newest is None or self._trouble:
            raise RobotError(self._trouble)
        age_ns = time.monotonic_ns() - newest.t_ns
        if age_ns > self._max_age_ns:
            raise RobotError(
                f"{self._name}: no state for {age_ns / 1e6:.0f} ms, limit "
                f"{self._max_age_ns / 1e6:g} ms. Is its process busy or its bus stuck?"
            )
        return newest

    def send(self, action: NDArray[np.float32]) -> None:
        """Hand the action over. Raises RobotError when its process takes none any more."""
        if not self._stopped:
            self._hand_over(encode("action", {"action": action}))

    def send_ahead(
        self, action: NDArray[np.float32], coming: NDArray[np.float32] | None, tick_ns: int,
        t_obs_ns: int | None,
    ) -> None:  # fmt: skip
        """Hand the action over with those to come; see AheadRobot."""
        if not self._stopped:
            arrays = {"action": action} if coming is None else {"action": action, "coming": coming}
            self._hand_over(encode("ahead", arrays, tick_ns=tick_ns, t_obs_ns=t_obs_ns))

    def _hand_over(self, message: bytes) -> None:
        if self._trouble:
            raise RobotError(self._trouble)
        try:
            self._socket.send(message)
        except BlockingIOError:
            raise RobotError(f"{self._name}: its process does not take actions.") from None
        except OSError:
            raise RobotError(self._trouble or f"{self._name}: its process has ended.") from None

    def stop(self) -> None:
        """Ask it to stop; if the message cannot be sent, the socket's end stops it. Idempotent."""
        if not self._stopped:
            self._stopped = True
            try:
                self._socket.send(encode("stop"))
            except OSError:
                self._end()

    def close(self) -> None:
        """Stop the robot, then ends its process. Raises RobotError when the process has not said
        that the robot was stopped. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        self._end()
        if self._newest is None:
            self._process.terminate()  # it may be in the middle of its imports
        try:
            self._process.wait(timeout=_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.wait()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)
        self._socket.close()
        if self._newest is not None and not self._rested:
            raise RobotError(f"{self._name}: its process did not confirm that the robot stopped.")

    def _end(self) -> None:
        """Send nothing more from this end, and hear what is still to come from the other one."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        waiter = self._socket.dup()  # its own, blocking in the kernel and not under our timeouts
        waiter.settimeout(0.2)
        over = False
        try:
            while True:
                try:
                    message = waiter.recv(LARGEST_BYTES)
                except (TimeoutError, BlockingIOError):
                    if over:  # a child of its keeps the socket open; its last words are heard
                        break
                    over = self._process.poll() is not None
                    continue
                except ConnectionResetError:  # it ended with an action unread: said once, and what
                    continue  # it had said before, "stopped" among it, is still there
                if not message:
                    break
                kind, values, arrays = decode(message)
                if kind == "state":
                    self._newest = self._state(values.get("t_ns"), arrays)
                elif kind == "goal_range" and sorted(arrays) == ["high", "low"]:
                    self.goal_range = arrays["low"], arrays["high"]
                elif kind == "stopped":
                    self._rested = True
                else:
                    self._trouble = self._trouble or _line(kind, values.get("line"))
        except (OSError, WireError) as cause:
            self._trouble = self._trouble or f"{self._name}: {cause}"
        finally:
            waiter.close()
        code = self._process.poll()
        self._trouble = self._trouble or (
            f"{self._name}: its process has ended"
            f"{'' if code is None else f' with exit code {code}'}. Its words are above."
        )

    def _state(self, t_ns: Any, arrays: dict[str, NDArray[Any]]) -> RobotState:
        """Read a state from a message. Raises WireError when it has another form than the spec's
        states."""
        if type(t_ns) is not int or abs(t_ns) > _FARTHEST_NS:
            raise WireError(f"its state: t_ns: expected whole nanoseconds, got {shown(t_ns)}.")
        for name, shape in self._shapes.items():
            got = arrays[name].shape if name in arrays else f"none, only {shown([*arrays])}"
            if got != shape:
                raise WireError(f"its state {name!r}: expected shape {shape}, got {got}.")
        with np.errstate(over="ignore"):  # what is not finite then is the state machine's to judge
            values = {name: x.astype(np.float32, copy=False) for name, x in arrays.items()}
        return RobotState(t_ns, values)


def _line(kind: str, line: Any) -> str:
    if kind != "error" or not isinstance(line, str) or not line.strip():
        raise WireError(f"an unknown message from its process: {shown(kind)}, {shown(line)}.")
    return line
