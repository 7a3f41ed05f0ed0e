"""A number and what it counts, for people."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """Return "1 plan", "2 plans", "10,000 plans"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
