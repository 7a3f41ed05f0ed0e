"""An input to stop by: a Unix datagram socket, for a button, a pendant or another program.

    echo -n stop | socat - UNIX-SENDTO:/run/ofp-edge/stop

"stop" stops the run for good. With a silence limit the sender must send something else ("go") more
often than that, so that a cut cable stops the run too. One run at a time listens at a path: it
holds a lock on `path`.lock, which the kernel takes back however the run ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from pathlib import Path

from ofp_edge.errors import RigError

_FLOOD = 1024
"""So many messages in one tick are a flood. The kernel keeps fewer (net.unix.max_dgram_qlen), so
whatever was there when the tick began is read; where more keep coming, a "stop" might be behind
them."""


class StopInput:
    """A reader of the socket that never waits, for one thread. Raises RigError when the socket
    cannot be made."""

    def __init__(self, path: str, silence_ms: float | None = None) -> None:
        self.path = Path(path)
        self._silence_ns = None if silence_ms is None else round(silence_ms * 1e6)
        self._heard_ns: int | None = None
        self._said = ""
        self._heard = False
        self._lock = _lock(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    os.unlink(path)  # left by a run that was killed: a live run would hold the lock
            self._socket.bind(path)
            os.chmod(path, 0o660)
            self._mine = _identity(path)
        except OSError as cause:
            self._socket.close()
            os.close(self._lock)
            raise RigError(f"[safety] stop_socket {path}: {cause.strerror or cause}.") from None

    def read(self, now_ns: int) -> str:
        """Return why to stop, or nothing. Silence counts from the first call on."""
        if reason := self.said():
            return reason
        if self._heard_ns is None or self._heard:
            self._heard_ns, self._heard = now_ns, False
        silent_ns = now_ns - self._heard_ns
        if self._silence_ns is not None and silent_ns > self._silence_ns:
            return f"the stop input was silent for {silent_ns / 1e6:.0f} ms"
        return ""

    def said(self) -> str:
        """Return why to stop, silence apart, or nothing. It reads everything that waits, and a
        "stop" stays."""
        for _ in range(_FLOOD):
            try:
                word = self._socket.recv(64)
            except BlockingIOError:
                return self._said
            self._heard = True
            if word.strip(b" \t\r\n\0").lower().startswith(b"stop"):
                self._said = self._said or "the stop input said stop"
        self._said = self._said or f"the stop input is flooded: {_FLOOD} messages in one tick"
        return self._said

    def close(self) -> None:
        """Take the socket away, unless another one lies there by now. Idempotent."""
        if self._lock < 0:
            return
        self._socket.close()
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._mine:
                self.path.unlink()
        os.close(self._lock)
        self._lock = -1


def _lock(path: str) -> int:
    """Take a lock that is held until it is closed. Raises RigError when another run holds it."""
    try:
        handle = os.open(
            f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660
        )
    except OSError as cause:
        raise RigError(f"[safety] stop_socket {path}: {cause.strerror or cause}.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise RigError(
            f"[safety] stop_socket {path}: another run listens there. Name another one, or end it."
        ) from None
    return handle


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino
