"""The time budget of a refining step: the slowest seen lately and half as much again."""

from __future__ import annotations

from collections import deque

_KEPT = 256
_MARGIN = 1.5


class RefineBudget:
    """Decides how much time `--nfe auto` asks for. first_ns: measured at start-up, the slowest."""

    def __init__(self, first_ns: int) -> None:
        self._lately: deque[int] = deque([first_ns], maxlen=_KEPT)

    def add(self, took_ns: int) -> None:
        """Record the time a refining step took."""
        self._lately.append(took_ns)

    @property
    def ns(self) -> int:
        """Return the time that a refining step is given."""
        return round(_MARGIN * max(self._lately))
