"""`ofp-edge compare`: two profiles, difference by difference, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Output, add_command

KEYS = ("a", "b", "rows", "notes")


def compare(
    output: Output,
    a: Annotated[Path, typer.Argument(help="JSON of `profile` or `profile-loop`.")],
    b: Annotated[Path, typer.Argument(help="Another one: its figures less A's are shown.")],
) -> Document:
    """Compare two profiles: medians and tails, with 95 % intervals of the differences."""
    from rich.table import Table

    from ofp_edge.profile import compare as judge

    first, second = judge.read_profile(a), judge.read_profile(b)
    rows, notes = judge.compare(first, second), judge.beware(first, second)
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "", "A ms", "B ms", "B - A", "95 %", ""):
        table.add_column(name, justify="left" if name in ("stage", "") else "right")
    for row in rows:
        interval = row["interval_ms"]
        verdict = {
            None: "",
            True: "slower" if row["difference_ms"] > 0 else "faster",
            False: "no difference seen",
        }[row["differs"]]
        table.add_row(
            row["stage"],
            row["percentile"].replace("_", "."),
            f"{row['a_ms']:.3f}",
            f"{row['b_ms']:.3f}",
            f"{row['difference_ms']:+.3f}",
            "" if interval is None else f"{interval[0]:+.3f} … {interval[1]:+.3f}",
            verdict,
        )
    output.console.print(table)
    for note in notes:
        output.console.print(f"[yellow]not alike:[/] {note}", soft_wrap=True)
    return {"a": str(a), "b": str(b), "rows": rows, "notes": notes}


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "compare", compare, KEYS)
