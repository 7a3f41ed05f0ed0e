"""The process that brings a robot to rest when the one that drives it cannot any more.

`python -m ofp_edge.runtime.supervisor.process FD`; supervision.py starts it before the robot opens.

    the line says that the robot is at rest        ends
    the run asks for it: a stop failed             opens the robot anew and stops it; answers
    the run or the line is gone without that word  opens the robot anew and stops it
    a signal came to the run, or a tick began,     kills the run, which lets go of the robot; then
    and nothing followed in time                   the same

It opens what the rig names, as the run did, by the same class, and calls state, stop and close. It
ignores the signals that end other programs: only SIGKILL ends it before its robot is at rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Any

from ofp_edge.runtime.supervisor import line as words

_SLICE_S = 0.1
_HOST_S = 5.0
_RETRY_S, _EVERY_S, _GIVE_UP_S = 5.0, 0.2, 90
_LONGEST_BYTES = 128 * 1024


class Watch:
    """A watch that listens until the robot is at rest, or has to be brought there.

    Time is counted in slices during which this process was awake: where the whole machine stood
    still, the run had no time either. `killed_because` says why it has killed the run, or nothing.
    """

    def __init__(self, line: socket.socket, run: int, patience_s: float) -> None:
        self._line, self._run, self._patience_s = line, run, patience_s
        self._left_s: float | None = None
        self._signal = ""
        self._told = False
        self.killed_because = ""
        self._host: int | None = None
        self._host_left_s = _HOST_S

    def until_needed(self) -> str:
        """Return why the robot has to be brought to rest, or nothing when it is at rest."""
        before_s = time.monotonic()
        while True:
            select.select([self._line], [], [], _SLICE_S)
            now_s = time.monotonic()
            passed_s, before_s = min(now_s - before_s, 2 * _SLICE_S), now_s
            alive = os.getppid() == self._run  # looked at before the line: what it said is there
            if (ending := self._hear()) is not None:
                return ending
            if not alive:
                if self._let_host_end(passed_s):
                    return self.killed_because or "the run is gone"
            elif self._left_s is not None:
                self._left_s -= passed_s
                if self._left_s <= 0:
                    self._kill()

    def _hear(self) -> str | None:
        while True:
            try:
                word = self._line.recv(256, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except ConnectionError:
                word = b""
            if word == words.AT_REST:
                return ""
            if word == words.REST:
                return "its stop failed"
            if not word:
                return self.killed_because or "the run is gone"
            self._heed(word)

    def _heed(self, word: bytes) -> None:
        if len(word) == 1:
            if not self._told and not self._signal:
                with contextlib.suppress(ValueError):
                    self._signal = signal.Signals(word[0]).name
                    self._left_s = self._patience_s
        elif word == words.TOLD:
            self._told, self._left_s = True, None
        elif word.startswith(words.HOST):
            self._host = int(word[len(words.HOST) :])
        elif not self._signal and not self._told:
            self._left_s = self._patience_s if word == words.BEAT else None

    def _kill(self) -> None:
        after = f"it had not stopped {self._patience_s:g} s after"
        what = f"{after} {self._signal}" if self._signal else f"no tick for {self._patience_s:g} s"
        self.killed_because, self._left_s = f"the run hung ({what}) and was killed", None
        os.kill(self._run, signal.SIGKILL)

    def _let_host_end(self, passed_s: float) -> bool:
        """Wait a while for the robot's own process, which stops the robot when the run is gone, to
        say so."""
        self._host_left_s -= passed_s
        if self._host is not None and self._host_left_s > 0:
            return False
        if self._host is not None:
            with contextlib.suppress(OSError):
                os.kill(self._host, signal.SIGKILL)
        return True


def bring_to_rest(task: dict[str, Any]) -> str:
    """Open the robot, stop it and close it; return why that failed, or nothing. It tries again
    for a while, because what held the port may take a moment to go."""
    from ofp_edge.rig.file import RobotEntry
    from ofp_edge.runtime.robot import open_robot
    from ofp_edge.spec import PolicySpec

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_GIVE_UP_S)  # whatever hangs
    entry, spec = RobotEntry(task["driver"], task["options"]), PolicySpec.from_json(task["spec"])
    until_s = time.monotonic() + _RETRY_S
    while True:
        try:
            with contextlib.closing(open_robot(entry, spec)) as robot:
                with contextlib.suppress(Exception):
                    robot.state()  # some drivers hold the place that was read last
                robot.stop()
            return ""
        except Exception as cause:  # a driver's own errors have no common root
            trouble = " ".join(f"{type(cause).__name__}: {cause}".split())
        if time.monotonic() > until_s:
            return trouble
        time.sleep(_EVERY_S)


def _preload(driver: str) -> None:
    """Import what will be needed while there is time; what fails here fails again where it is
    needed."""
    with contextlib.suppress(Exception):
        from ofp_edge.errors import RobotError
        from ofp_edge.runtime.plugin import load_class

        load_class(driver, RobotError)


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, f"supervisor: {text}\n".encode())


def main(line: socket.socket) -> None:
    """Hear whom to look after, then do it."""
    for number in words.DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, words.DEAF_TO)  # blocked since it was started
    task = json.loads(line.recv(_LONGEST_BYTES))
    loading = threading.Thread(target=_preload, args=(task["driver"],), daemon=True)
    loading.start()
    watch = Watch(line, task["run"], task["patience_s"])
    why = watch.until_needed()
    if not why:
        if watch.killed_because:
            _tell(f"{watch.killed_because}; the robot's own process has stopped it.")
        return
    _tell(f"{why}: opening the robot anew to stop it.")
    loading.join()
    trouble = bring_to_rest(task)
    _tell(trouble or "the robot was told to stop, and took it.")
    with contextlib.suppress(OSError):
        line.send(json.dumps(trouble).encode())


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end:
        main(end)
    os._exit(0)  # nothing waits for a half-done import in the other thread
