"""The words between a run and its supervisor, one message each, on a Unix socket pair.

    run, robot's own process   signal number (one byte, written by Python itself, also while a call
                               hangs), BEAT, PAUSE, TOLD, AT_REST, REST, HOST + pid
    supervisor                 one line: why the robot could not be brought to rest, or nothing

Whoever holds the run's end may say AT_REST; an end that closes without it is a robot to look after.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket

BEAT = b"beat"
"""A tick begins: the next one is due."""
PAUSE = b"pause"
"""No tick is due, because the robot is being reset."""
TOLD = b"told"
"""The robot was told to stop and accepted it; what is open is being closed."""
AT_REST = b"at rest"
"""The robot was told to stop, accepted it, and was closed: there is nothing left to look after."""
REST = b"bring it to rest"
"""The robot did not accept the stop, or could not be closed: open it anew, stop it, and answer."""
HOST = b"host "
"""A process of the robot's own is driving it (its pid follows), and holds this line too."""

DEAF_TO = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGABRT,
    signal.SIGTSTP,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""The signals that end other programs and that a supervisor ignores."""

_PATIENCE_S = 1.0


def say(line: socket.socket, word: bytes, *, waits: bool = True) -> bool:
    """Send a word; return whether there is still another end. Where the buffer is full and
    `waits` is set, it waits at most a second for room; otherwise the word is left out, which is no
    loss for one that is repeated."""
    if waits:
        with contextlib.suppress(OSError, ValueError):
            select.select([], [line], [], _PATIENCE_S)
    try:
        line.send(word, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True
