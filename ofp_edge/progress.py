"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with steps done, steps in all, and a short note (may be empty)."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Move on."""


def silent(done: int, total: int, note: str = "") -> None:
    """Listens to nothing."""
