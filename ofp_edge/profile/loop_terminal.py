"""The whole loop's figures in a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from ofp_edge.profile.schedule import schedule_lines

_COLUMNS = ("p50", "p90", "p99", "p99_9", "max")


def show_loop(console: Console, values: dict[str, Any]) -> None:
    """Print the chain and what follows from it."""
    table = Table(
        title=f"{values['bundle']}: {values['ticks']} ticks",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("ms")
    for name in _COLUMNS:
        table.add_column(name.replace("_", "."), justify="right")
    for name, row in values["stages"].items():
        table.add_row(name, *(f"{row[column]:.3f}" for column in _COLUMNS))
    console.print(table)
    counts = {name: count for name, count in values["counts"].items() if count}
    console.print(", ".join(f"{count} {name}" for name, count in counts.items()))
    console.print(f"stopped because: {values['stopped_because']}", soft_wrap=True)
    if values["proposed_latency_ms"] is not None:
        console.print(
            f"proposed L: {values['proposed_latency_ms']:g} ms; the rig has "
            f"{values['latency_ms']:g} ms"
        )
    for line in [] if values["schedule"] is None else schedule_lines(values["schedule"]):
        console.print(line)
    if values["within_budget"] is not None:
        kept = "[green]kept[/]" if values["within_budget"] else "[bold red]missed[/]"
        console.print(f"budget of {values['budget_ms']:g} ms (p99.9 of camera to action): {kept}")
    for note in values["notes"]:
        console.print(f"[yellow]note:[/] {note}")
    console.print(f"report: {values['report']}", soft_wrap=True)
