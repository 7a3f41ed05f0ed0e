"""The file results.md: the tables, at most some 100 columns wide."""

from __future__ import annotations

import textwrap

from ofp_edge.bench import findings, tables
from ofp_edge.bench.document import Document, many
from ofp_edge.bench.tables import TextTable

WIDTH = 100


def markdown(values: Document) -> str:
    """Return the whole document."""
    suite, machine = values["suite"], values["fingerprint"]
    parts = [f"# Benchmark {suite['name']}", _wrapped(summary(values))]
    if said := findings.findings(values):
        parts.append("\n".join(_wrapped(line, "- ") for line in said))
    for found in (
        findings.comparisons(values),
        tables.success(values),
        tables.modes(values),
        tables.tuning(values),
        tables.motion(values),
        tables.costs(values),
    ):
        if found is not None:
            parts += [f"## {found.title}", *_tables(found), _wrapped(found.caption)]
    parts += [
        "## How it was made",
        _wrapped(
            f"ofp-edge {values['ofp_edge']}, torch {machine['versions'].get('torch', '?')}, Python "
            f"{machine['python']}, {machine['cpu']}, {machine['cores_usable']} cores, "
            f"{values['run_on']}. Every figure, seed and episode is in results.json."
        ),
        f"    {' '.join(values['command'])}",
    ]
    return "\n\n".join(parts) + "\n"


def summary(values: Document) -> str:
    """Describe the setting in a sentence or two."""
    suite = values["suite"]
    budget = (
        "as many optimiser steps for every row"
        if suite["budget"] == "steps"
        else f"as much training time for every row as {suite['reference']} takes for its steps"
    )
    latency = suite["evaluate"]["latency_ms"]
    return (
        f"{many(len(suite['tasks']), 'simulated task')}, observations {suite['observe']}, "
        f"preset {suite['preset']}, training seeds {', '.join(map(str, suite['seeds']))}; {budget}."
        + (f" Latency L {latency:g} ms." if latency else "")
    )


def _tables(found: TextTable) -> list[str]:
    """Return one table, or several with the first columns repeated where one would be too wide."""
    first, widths = found.text_columns, _widths(found)
    made: list[str] = []
    start = first
    while start < len(found.head) or not made:
        end, room = start, WIDTH - 1 - sum(w + 3 for w in widths[:first])
        while end < len(widths) and (end == start or room >= widths[end] + 3):
            room -= widths[end] + 3
            end += 1
        columns = [*range(first), *range(start, end)]
        made.append(_one(found, columns, widths))
        start = end
    return made


def _one(found: TextTable, columns: list[int], widths: list[int]) -> str:
    def line(row: tuple[str, ...]) -> str:
        cells = [
            row[i].ljust(widths[i]) if i < found.text_columns else row[i].rjust(widths[i])
            for i in columns
        ]
        return f"| {' | '.join(cells)} |"

    rule = [
        "-" * widths[i] if i < found.text_columns else "-" * (widths[i] - 1) + ":" for i in columns
    ]
    return "\n".join([line(found.head), f"| {' | '.join(rule)} |", *map(line, found.rows)])


def _widths(found: TextTable) -> list[int]:
    return [
        max(3, *(len(row[i]) for row in (found.head, *found.rows))) for i in range(len(found.head))
    ]


def _wrapped(text: str, start: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
