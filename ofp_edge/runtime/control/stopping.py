"""Request the end of a run: a flag that a signal or another thread sets."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from ofp_edge.signals import ASKED, Interrupted, stop_signals_to

STOP_SIGNALS = (*ASKED, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
"""The signals that end a run in order: Ctrl-C, SIGTERM, a closed terminal, Ctrl-\\ and Ctrl-Z,
since a robot can't be left alone in the middle of a movement. SIGABRT is not among them: systemd
uses it to end a loop that hangs."""


class StopFlag:
    """Set by a signal handler or another thread; the loop looks at it at every tick.

    raises: a signal raises Interrupted in the main thread as well, once: what has not begun to look
    at the flag is given up. `open_session` sets it, the loop takes it back.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.raises = False

    def set(self, reason: str) -> None:
        """Ask the loop to end; the first reason stays."""
        self.reason = self.reason or reason


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Let STOP_SIGNALS set the flag instead of ending the process. A second signal changes nothing:
    what the first one began is finished."""
    flag = StopFlag()

    def handle(number: int, _: FrameType | None) -> None:
        flag.set("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)
        if flag.raises:
            flag.raises = False
            raise Interrupted(number)

    with stop_signals_to(handle, STOP_SIGNALS):
        yield flag
