"""The run's side of its supervisor: the process that brings the robot to rest when this one cannot.

    run ── robot, in this process or in one of its own (robots/remote.py)
     └──── process.py, in a session of its own: no terminal, ignores signals

docs/safety.md says who stops the robot at which end of a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator

from ofp_edge.errors import OfpError, RobotError, StopUnconfirmed
from ofp_edge.rig.file import RobotEntry
from ofp_edge.runtime.robot import Robot, build_robot, find_robot
from ofp_edge.runtime.robots.wire import pair
from ofp_edge.runtime.supervisor.line import AT_REST, BEAT, DEAF_TO, PAUSE, REST, TOLD, say
from ofp_edge.spec import PolicySpec

_BEAT_NS = 100_000_000
_END_S = 2.0
_LONGEST_LINE = 65536


class Supervision:
    """The supervisor's starter and its partner. It belongs to the control thread.

    `patience_s` is how long a tick, or what follows a signal, may hang before this process is
    killed and the robot stopped. `trouble` says why its stop failed, or nothing. `over` says that
    the supervisor stands down.
    """

    def __init__(self, entry: RobotEntry, spec: PolicySpec, patience_s: float) -> None:
        self.trouble = ""
        self.over = False
        self._beat_ns: int | None = None
        self.line, theirs = pair()
        self.line.setblocking(False)
        task = {
            "driver": entry.driver,
            "options": entry.options,
            "spec": spec.to_json(),
            "run": os.getpid(),
            "patience_s": patience_s,
        }
        command = [
            sys.executable,
            "-m",
            "ofp_edge.runtime.supervisor.process",
            str(theirs.fileno()),
        ]
        # Inherited: what ends the rest of a unit cannot end it while it is still starting.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
        try:
            # Its stdout is our stderr: under --json our stdout carries one document and no more.
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,
                start_new_session=True,
            )
        except OSError as cause:
            self.line.close()
            raise RobotError(f"the supervisor can't be started: {cause.strerror}.") from None
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        say(self.line, json.dumps(task, default=str).encode())
        self._wakeup: int | None = None
        if threading.current_thread() is threading.main_thread():
            self._wakeup = signal.set_wakeup_fd(self.line.fileno(), warn_on_full_buffer=False)

    def beat(self, now_ns: int) -> None:
        """Report that a tick begins. Raises RobotError when the supervisor is gone: nobody would
        look after us."""
        if self._beat_ns is not None and now_ns - self._beat_ns < _BEAT_NS:
            return
        self._beat_ns = now_ns
        if not say(self.line, BEAT, waits=False):
            raise RobotError(
                "the supervisor process has ended: if this one died, nobody would stop the robot."
            )

    def pause(self) -> None:
        """Report that no tick is due until the next beat."""
        self._beat_ns = None
        say(self.line, PAUSE)

    def told(self, trouble: str = "") -> None:
        """Report that the robot accepted its stop, or, with `trouble`, that it did not."""
        self.trouble = self.trouble or trouble
        if not trouble:
            say(self.line, TOLD)

    def at_rest(self) -> None:
        """Report that the robot has been stopped and closed, or will not be moved: the supervisor
        stands down. Idempotent."""
        if self.over:
            return
        self.over = True
        if self._wakeup is not None:
            signal.set_wakeup_fd(self._wakeup)
            self._wakeup = None
        say(self.line, AT_REST)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.line.close()

    def bring_to_rest(self) -> str:
        """Let the supervisor open the robot anew and stop it; return why it could not, or
        nothing."""
        say(self.line, REST)
        self.line.setblocking(True)
        answer = b""
        with contextlib.suppress(OSError):  # it gives up by itself, after a time that it knows best
            answer = self.line.recv(_LONGEST_LINE)
        self.at_rest()
        if not answer:
            return "the supervisor process has ended."
        return str(json.loads(answer))


@contextlib.contextmanager
def supervised_robot(
    entry: RobotEntry, spec: PolicySpec, patience_s: float
) -> Iterator[tuple[Robot, Supervision | None]]:
    """Yield the open robot of a rig and its supervision (None when the robot comes to rest by
    itself once this process is gone). At the end the robot is closed, and where its stop is not
    confirmed, the supervisor stops it: RobotError says so, StopUnconfirmed says that this failed,
    too."""
    found = find_robot(entry)
    if getattr(found, "stops_by_itself", False):
        robot = build_robot(found, entry, spec)
        with contextlib.closing(robot):
            yield robot, None
        return
    supervision = Supervision(entry, spec, patience_s)
    try:
        robot = build_robot(found, entry, spec)
    except Exception:  # it did not open: nothing to stop
        supervision.at_rest()
        raise
    except BaseException:  # a signal in the middle of it
        supervision.bring_to_rest()
        raise
    try:
        if (hand_over := getattr(robot, "supervised_by", None)) is not None:
            hand_over(supervision.line)
        yield robot, supervision
    except BaseException as failure:
        _close(robot, supervision, failure)
        raise
    _close(robot, supervision, None)


def _close(robot: Robot, supervision: Supervision, failure: BaseException | None) -> None:
    trouble = supervision.trouble
    try:
        robot.close()
    except Exception as cause:
        if not isinstance(cause, OfpError):
            traceback.print_exc()  # a bug keeps its trace
        trouble = trouble or str(cause) or type(cause).__name__
    if supervision.over and failure is None and trouble:
        raise RobotError(trouble)  # in a dry run
    if supervision.over or not trouble:
        return supervision.at_rest()
    why_not = supervision.bring_to_rest()
    if why_not:
        before = f"{failure} " if isinstance(failure, OfpError) else ""
        raise StopUnconfirmed(
            f"{before}The robot's stop could not be confirmed: {trouble} Opening it anew to stop "
            f"it: {why_not} Make sure that it stands still."
        ) from failure
    if failure is None:
        raise RobotError(f"{trouble} It was opened anew and stopped.")
