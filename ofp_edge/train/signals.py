"""Turn Ctrl-C and SIGTERM into a wish to stop after the current step: no state is ever half new."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from ofp_edge.signals import stop_signals_to


class StopWish:
    """`requested` turns true at the first signal; a second Ctrl-C interrupts at once."""

    requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


@contextlib.contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Handle SIGINT and SIGTERM inside the block; outside the main thread, handle nothing."""
    wish = StopWish()
    with stop_signals_to(wish):
        yield wish
