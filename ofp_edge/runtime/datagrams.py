"""A Unix datagram socket that a run listens to. One run at a time listens at a path: it holds a
lock on `path`.lock, which the kernel takes back however the run ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from ofp_edge.errors import RigError

FLOOD = 1024
"""So many messages in one tick are a flood. The kernel keeps fewer (net.unix.max_dgram_qlen), so
whatever was there when the tick began is read; where more keep coming, the one that counts might be
behind them."""


class Datagrams:
    """What is said at `path`, read without waiting, for one thread. key: the rig's, for messages.
    Raises RigError when the socket cannot be made."""

    def __init__(self, path: str, key: str) -> None:
        self.path = Path(path)
        self._what = f"{key} {path}"
        self._lock = self._locked()
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
            raise RigError(f"{self._what}: {cause.strerror or cause}.") from None

    def waiting(self, largest: int) -> Iterator[bytes]:
        """Yield the messages that wait, FLOOD of them at most, each cut to `largest` bytes."""
        for _ in range(FLOOD):
            try:
                yield self._socket.recv(largest)
            except BlockingIOError:
                return

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

    def _locked(self) -> int:
        """Take a lock that is held until it is closed. RigError when another run holds it."""
        try:
            handle = os.open(
                f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660
            )
        except OSError as cause:
            raise RigError(f"{self._what}: {cause.strerror or cause}.") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise RigError(
                f"{self._what}: another run listens there. Name another one, or end it."
            ) from None
        return handle


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino
