"""`profile --pick`: times what the bundle holds, and writes the fastest into the rig."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.table import Table

from ofp_edge.bundle import Bundle
from ofp_edge.cli.output import Document, Output
from ofp_edge.errors import OfpError


def pick_engine(
    output: Output, bundle: Bundle, rig: Path | None, engine: str | None, precision: str | None,
    threads: int | None,
) -> Document:  # fmt: skip
    """Measure, print the table, record the choice; returns {"engine", "precision", "threads",
    "rig", "table"}. Raises OfpError without a rig, UnknownName, RigError."""
    from ofp_edge.profile.pick import ROUNDS, candidates, pick, thread_counts
    from ofp_edge.report.fingerprint import fingerprint
    from ofp_edge.rig.engine import set_engine
    from ofp_edge.rig.file import read_rig
    from ofp_edge.runtime.infer.engine_choice import board_here, usable_cpus

    if rig is None:
        raise OfpError("--pick: give --rig too: the choice is recorded there.")
    read_rig(rig).require_fits(bundle.spec)
    board = board_here(bundle)
    cpus = () if board is None else usable_cpus(board)
    # Without a board all of the cores but one, which the loop and the cameras keep.
    most = max(1, len(os.sched_getaffinity(0)) - 1) if board is None else board.threads
    counts = thread_counts(most) if threads is None else [threads]
    among = candidates(bundle, counts, engine, precision)
    with output.progress("picking") as progress:
        picked = pick(bundle, among, cpus, progress=progress)
    entry = picked.entry
    machine = fingerprint(entry.threads)
    facts = {
        "bundle": bundle.sha256,
        "cpu": machine["cpu"],
        "kernel": machine["kernel"],
        "load_1min": machine["load_1min"],
        "rounds": ROUNDS,
        **{name: version for name, version in machine["versions"].items() if name != "torch"},
    }
    set_engine(rig, entry, picked.rows, facts)
    output.console.print(_table(picked.rows))
    output.console.print(
        f"picked {entry.name} {entry.precision}, {entry.threads} thread(s): written to {rig} "
        "[engine]; `run` obeys it. Within 5 % the fewest threads win, then the bundle's default.",
        markup=False,
        soft_wrap=True,
    )
    return {
        "engine": entry.name,
        "precision": entry.precision,
        "threads": entry.threads,
        "rig": str(rig),
        "table": picked.rows,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("engine", "precision", box=None, pad_edge=False)
    for column in ("threads", "a chunk, ms", "99 %, ms", "against the best"):
        table.add_column(column, justify="right")
    for row in rows:
        head = (row["engine"], row["precision"], str(row["threads"]))
        if "refused" in row:
            table.add_row(*head, "refused:", row["refused"], "")
        else:
            ratio = row["chunk_ms"] / rows[0]["chunk_ms"]
            table.add_row(
                *head, f"{row['chunk_ms']:.3f}", f"{row['slowest_ms']:.3f}", f"{ratio:.2f}x"
            )
    return table
