"""What each key of a source is taken for: a row of one table, of which everything else is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LEFT = "left"
"""`Taken.taken` of a key that no field reads."""


@dataclass(frozen=True)
class Taken:
    """Says what a key, or some of its columns, is taken for, and why.

    columns: (first, last + 1) of the key's last axis, None for all of it. taken: the field as a
    person reads it ("action move: delta, hold 0"), or LEFT. why: the evidence, or the reason why it
    is left and what to write instead. field: the field's name, None for what is left.
    """

    key: str
    columns: tuple[int, int] | None
    taken: str
    why: str
    field: str | None = None

    @property
    def place(self) -> str:
        """The key with its columns."""
        return self.key if self.columns is None else f"{self.key}{list(self.columns)}"


def lines(taken: Iterable[Taken]) -> list[str]:
    """Return a line for each field, and one for each reason why keys are left."""
    made, left = [], dict[str, list[str]]()
    for row in taken:
        if row.field is None:
            left.setdefault(row.why, []).append(row.place)
        else:
            made.append(f"{row.place}: {row.taken}: {row.why}")
    return [*made, *(f"left: {', '.join(keys)}: {why}" for why, keys in left.items())]
