"""An offline evaluation for people: tables of text, for a terminal and for the page."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ofp_edge.counted import counted
from ofp_edge.evaluate.offline_verdict import best_blind
from ofp_edge.evaluate.report import short
from ofp_edge.quantize.units import shown

Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]


def said(described: dict[str, Any], value: float | None) -> str:
    """Format an error of a quantity: "1.8 mm", or "3 % differ"."""
    if value is None:
        return "–"
    if described["measure"] == "agreement":
        return f"{100 * value:.3g} %"
    return shown(value, described["unit"])


def quantity_rows(values: dict[str, Any]) -> Rows:
    """Return head and rows: the first run by quantity, and the best plan that sees nothing."""
    run = values["runs"][0]
    found: list[tuple[str, ...]] = []
    for i, (row, about) in enumerate(zip(run["quantities"], values["quantities"], strict=True)):
        name, blind = best_blind(values, i)
        counted = about["measure"] == "agreement"
        found.append(
            (
                f"{row['name']}, differs" if counted else row["name"],
                said(about, row["mean"]),
                "–" if counted else said(about, row["p95"]),
                said(about, row["executed"]),
                said(about, row["jump"]),
                f"{said(about, blind)} ({name})",
            )
        )
    return ("", "error", "p95", "executed", "jump", "sees nothing"), found


def run_rows(values: dict[str, Any]) -> Rows:
    """Return head and rows: each run in spreads, then those who see nothing."""
    several = values["samples"] > 1
    head = ["spreads", "error", "executed", "last step", "jump"]
    if several:
        head += [f"best of {values['samples']}", "noises apart"]
    found: list[tuple[str, ...]] = []
    for run in values["runs"]:
        name = f"{counted(run['nfe'], 'evaluation')}, {run['start']}"
        more = (short(run["best_of"]), short(run["disagreement"])) if several else ()
        found.append((name, *_figures(run), short(run["jump"]), *more))
    for blind in values["baselines"]:
        found.append((blind["name"], *_figures(blind), *["–"] * (len(head) - 4)))
    return tuple(head), found


def _figures(run: dict[str, Any]) -> tuple[str, ...]:
    return short(run["error"]), short(run["executed"]), short(run["error_by_step"][-1])


def offline_table(document: dict[str, Any]) -> RenderableType:
    """Format `eval --dataset`'s document, in at most 80 columns."""
    values, run = document["recorded"], document["recorded"]["runs"][0]
    noises = "" if document["start"] is None else f", {counted(values['samples'], 'noise')} each"
    about = (
        f"{counted(len(values['episodes']), 'episode')}, {values['frames']} frames, "
        f"{counted(values['plans'], 'plan')} of {values['plan_steps']} steps{noises}; "
        f"{document['engine']}, {document['precision']}"
    )
    title = f"{document['evaluated']} against {values['dataset']}"
    lines = Table.grid(padding=(0, 1, 0, 0))
    for line in values["verdict"]:
        lines.add_row(Text("-"), Text(line))
    first = f"{counted(run['nfe'], 'evaluation')}, {run['start']}"
    return Group(
        Text(title, style="italic"),
        Text(about, style="dim"),
        Text(f"\nMean error, {first}:"),
        _table(quantity_rows(values)),
        Text("\nIn spreads (1: as far off as the recorded actions are from their mean):"),
        _table(run_rows(values)),
        Text(),
        lines,
    )


def _table(found: Rows) -> Table:
    head, rows = found
    table = Table(box=None, padding=(0, 1, 0, 0))
    for number, name in enumerate(head):
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
