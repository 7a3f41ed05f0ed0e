"""A fixed rate on absolute deadlines: sleeping late once never shifts the ticks that follow."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]


def sleep_until(t_ns: int, clock: Clock = time.monotonic_ns) -> None:
    """Sleep until the monotonic clock shows `t_ns`, and not at all when that has passed. When the
    clock goes back meanwhile, it returns, because it may take any time until the clock shows `t_ns`
    again."""
    now_ns = clock()
    while (left_ns := t_ns - now_ns) > 0:
        time.sleep(left_ns / 1e9)
        before_ns, now_ns = now_ns, clock()
        if now_ns < before_ns:
            return


class Rate:
    """Ticks at `start + k * period_ns`. `skipped` counts ticks that had passed before they began.

    A tick begins when it is late by less than one period. A later tick is skipped and never caught
    up with: a burst of commands is worse than a gap.
    """

    def __init__(
        self,
        period_ns: int,
        clock: Clock = time.monotonic_ns,
        sleep: Callable[[int], None] | None = None,
    ) -> None:
        self.period_ns = period_ns
        self.skipped = 0
        self._clock = clock
        self._sleep = sleep or (lambda t_ns: sleep_until(t_ns, clock))
        self._next = self._seen = clock()
        self._last = self._next

    def start(self, first_ns: int | None = None) -> None:
        """Let the next tick be at `first_ns` (now, by default)."""
        self._next = self._clock() if first_ns is None else first_ns

    def wait(self) -> int:
        """Sleep to the next tick; return its nominal time, monotonic ns.

        Where the clock has gone back it returns at once, with a time not after the last tick's.
        """
        if self._went_back():
            return self._last
        late = (self._seen - self._next) // self.period_ns
        if late > 0:
            self.skipped += late
            self._next += late * self.period_ns
        tick = self._next
        self._sleep(tick)
        if self._went_back():
            return self._last
        self._next, self._last = tick + self.period_ns, tick
        return tick

    def _went_back(self) -> bool:
        before, self._seen = self._seen, self._clock()
        self._last = min(self._last, self._seen)
        return self._seen < before
