"""Ctrl-C and SIGTERM as a request, not an abrupt end: shared by all commands, runs and training.
The standard library alone: it is imported before Ctrl-C is handled."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], None]

ASKED = (signal.SIGINT, signal.SIGTERM)
"""The two signals by which people and service managers ask a program to end."""


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command, like Ctrl-C; `exit_code` is the shell's for that signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def stop_signals_to(
    handler: Handler, numbers: tuple[signal.Signals, ...] = ASKED
) -> Iterator[None]:
    """Send the signals `numbers` to `handler` inside the block; outside the main thread, where
    Python allows no handlers, do nothing. A SIGHUP that nohup made the process ignore stays
    ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deaf = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    wanted = [number for number in numbers if not (deaf and number == signal.SIGHUP)]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)


def end_on_interrupt() -> None:
    """End the process on Ctrl-C at once with a line and exit code 130: for when nothing has begun,
    or all is done. A process that ignores it (a script's background job) still does."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


@contextlib.contextmanager
def interrupts_raise() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt again inside the block, after `end_on_interrupt`."""
    if signal.getsignal(signal.SIGINT) is not _end:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, _: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"stopped.\n")
    os._exit(128 + number)  # an exception could be swallowed by whatever is being imported
