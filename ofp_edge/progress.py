"""Progress of long work, reported without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener, called with steps done, steps in all, and a short note (may be empty)."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report progress."""


def silent(done: int, total: int, note: str = "") -> None:
    """Ignore progress."""
