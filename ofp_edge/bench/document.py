"""What tables and plots look up in a benchmark's document, and how they say numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
SIGN = "−"


def variants(values: Document) -> list[tuple[str, int]]:
    """Return the pairs (row, nfe) of which there is any result, in the suite's order."""
    known = {(r["row"], r["nfe"]) for r in values["rows"] if r["success"] is not None}
    pairs = [(row["name"], nfe) for row in values["suite"]["rows"] for nfe in row["nfe"]]
    return [pair for pair in pairs if pair in known]


def find_row(values: Document, task: str, name: str, nfe: int) -> Document:
    """Return the entry of the success table."""
    found: Document = next(
        r for r in values["rows"] if (r["task"], r["row"], r["nfe"]) == (task, name, nfe)
    )
    return found


def begun(values: Document) -> list[str]:
    """Return the tasks of which a row has a result; all, while none has."""
    names = [task["name"] for task in values["suite"]["tasks"]]
    shown = variants(values)
    found = [n for n in names if any(find_row(values, n, *x)["success"] is not None for x in shown)]
    return found or names


def short_names(tasks: Sequence[str]) -> dict[str, str]:
    """Return the names without `metaworld/`, where that leaves them different."""
    ends = [task.rpartition("/")[2] for task in tasks]
    return {t: e if ends.count(e) == 1 else t for t, e in zip(tasks, ends, strict=True)}


def points(value: float) -> str:
    """Format a difference of shares in points, with its sign."""
    number = f"{100 * abs(value):.1f}"
    return ("+" if value > 0 else SIGN if value < 0 else "") + number


def many(count: int, what: str, plural: str = "") -> str:
    """Count in words: 1 task, 2 tasks."""
    return f"{count} {what}" if count == 1 else f"{count} {plural or what + 's'}"
