"""Remarks on what is seen, of a camera's frames or a robot's state: each kind is reported once, and
counted from then on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

Listener = Callable[[str, str], None]
_KEPT = 64


class Remarks:
    """The counts and the listener. `say` belongs to the one thread that looks; any thread may read
    `counts`.

    A remark made before somebody listens is kept and reported then.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._untold: deque[tuple[str, str]] = deque(maxlen=_KEPT)
        self._listener: Listener | None = None

    def say(self, what: str, detail: str = "", *, again: bool = False) -> None:
        """Count `what`, and report it with its detail the first time, or each time with
        `again`."""
        self.counts[what] = self.counts.get(what, 0) + 1
        if self.counts[what] > 1 and not again:
            return
        if self._listener is None:
            self._untold.append((what, detail))
        else:
            self._listener(what, detail)

    def listen(self, listener: Listener) -> None:
        """Report to `listener` (what, detail) from now on, and first what it has missed."""
        while self._untold:
            listener(*self._untold.popleft())
        self._listener = listener
