"""systemd's watchdog, which the control thread alone feeds: a plain datagram, no library.

A unit with Type=notify and WatchdogSec= gives the two variables; without them nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Heartbeat:
    """A heartbeat that sends READY once, then WATCHDOG at most four times in systemd's own period,
    then STOPPING.

    It belongs to the control thread: a beat says that it has just decided a tick, nothing less. A
    full socket is no reason to wait: the beat is left out.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        micro = environment.get("WATCHDOG_USEC", "0") if mine else "0"
        self.period_ns = int(micro) * 1000 if micro.isdigit() else 0
        self._last_ns: int | None = None
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._address = "\0" + address[1:] if address[0] == "@" else address

    def beat(self, now_ns: int) -> None:
        """Report that a tick was decided."""
        if self._socket is None:
            return
        if self._last_ns is None:
            self._say("READY=1\nWATCHDOG=1")
        elif self.period_ns and now_ns - self._last_ns >= self.period_ns // 4:
            self._say("WATCHDOG=1")
        else:
            return
        self._last_ns = now_ns

    def close(self, why: str = "") -> None:
        """Report that the run is over. Idempotent."""
        if self._socket is not None:
            self._say(f"STOPPING=1\nSTATUS={' '.join(why.split())}")  # a line is an assignment
            self._socket.close()
            self._socket = None

    def _say(self, text: str) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._address)
