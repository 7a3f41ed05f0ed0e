"""`ofp-edge data cache`: what is kept of large datasets, and how to be rid of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ofp_edge.cli.output import Document, Output, add_command, foreign
from ofp_edge.errors import OfpError

KEYS = ("folder", "entries", "bytes", "deleted", "in_use")


def cache(
    output: Output,
    folder: Annotated[
        Path | None, typer.Argument(help="The cache's folder. Default: the user's.")
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete all entries that no process uses.")
    ] = False,
) -> Document:
    """Show what `train` and `distill` have kept of datasets that do not fit into memory.

    An entry holds what the network sees of one camera, and is made again when it is needed.
    """
    from ofp_edge.cache_folder import cache_folder
    from ofp_edge.data.cache.entry import entries
    from ofp_edge.data.cache.room import size_of

    place = folder or cache_folder()
    if place is None:
        raise OfpError("this user has no home: give the cache's folder.")
    found: list[dict[str, Any]] = []
    deleted: list[str] = []
    in_use: list[str] = []
    table = Table("dataset", "field", "episodes", "GB", "last used")
    for entry in entries(place):
        about, done, size = entry.about(), entry.done(), size_of(entry)
        used_s = entry.used_s
        row = {
            "key": entry.path.name,
            "dataset": about.dataset if about else None,
            "field": about.field if about else None,
            "episodes": len(done),
            "episodes_made": int((done > 0).sum()),
            "bytes": size,
            "used_s_ago": max(0.0, time.time() - used_s),
        }
        if clear:
            (deleted if entry.delete_unused() else in_use).append(entry.path.name)
        found.append(row)
        table.add_row(
            foreign(str(row["dataset"] or "damaged")),
            foreign(str(row["field"] or "")),
            f"{row['episodes_made']} of {len(done)}",
            f"{size / 1e9:.3g}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(used_s)),
        )
    total = sum(row["bytes"] for row in found)
    output.console.print(f"{foreign(str(place))}: {len(found)} entries, {total / 1e9:.3g} GB")
    if found:
        output.console.print(table)
    if clear:
        left = f", {len(in_use)} are in use or another user's" if in_use else ""
        output.console.print(f"{len(deleted)} deleted{left}")
    return {
        "folder": place,
        "entries": found,
        "bytes": total,
        "deleted": deleted,
        "in_use": in_use,
    }


def add(app: typer.Typer) -> None:
    """Register the command in its group."""
    add_command(app, "cache", cache, KEYS)
