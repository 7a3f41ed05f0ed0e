"""`ofp-edge bench`: methods compared over tasks and seeds, from a suite file to a report."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ofp_edge.cli.output import Document, Output, add_command
from ofp_edge.errors import OfpError

KEYS = (
    "suite", "output", "dry_run", "cells", "cells_done", "to_do", "comparisons", "findings",
    "results", "markdown", "report",
)  # fmt: skip


def bench(
    output: Output,
    suite: Annotated[str, typer.Argument(help="Suite file, or the name of a shipped one.")],
    folder: Annotated[
        Path, typer.Option("-o", "--output", help="Work folder; what is done in it stays done.")
    ],
    workers: Annotated[
        int | None, typer.Option(help="Processes, one a training. Default: the cores.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Run on this Ray cluster instead (local: start one). Default: none."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="task/row/seed or its first parts, * for anything; may be repeated."),
    ] = None,
    experts: Annotated[
        Path, typer.Option(help="Folder of the files that the suite names as experts.")
    ] = Path(),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is done and what is to do; do nothing.")
    ] = False,
    any_code: Annotated[
        bool | None,
        typer.Option(
            "--any-code/--this-code",
            help="Keep what other versions of the code made, or make it anew. Default: neither: "
            "such a folder is refused.",
        ),
    ] = None,
) -> Document:
    """Compare methods over tasks and training seeds, and write Markdown, JSON and an HTML report.

    Killed and started again it goes on where it was; a changed entry of the suite reruns only what
    follows from it. A folder of which another version of the code made a part asks which to keep.
    """
    # Before torch starts its threads: the processes are the parallelism.
    os.environ["OMP_NUM_THREADS"] = "1"
    if ray is not None and workers is not None:
        raise OfpError("--workers and --ray exclude each other: Ray knows its own cores.")
    from ofp_edge.bench.suite import find_suite
    from ofp_edge.bench.suite_file import read_suite
    from ofp_edge.extras import require

    read = read_suite(find_suite(suite))
    require("torch", "train")
    require("zarr", "sim")
    from ofp_edge.bench.cells import units
    from ofp_edge.bench.check import check_names
    from ofp_edge.bench.findings import findings
    from ofp_edge.bench.pool import LocalPool, Pool, RayPool
    from ofp_edge.bench.results import gather, write_reports
    from ofp_edge.bench.run import remaining, require_this_code, run_suite
    from ofp_edge.bench.store import open_store
    from ofp_edge.cli.expert import expert_of

    check_names(read)
    chosen = units(read, tuple(only or ()))
    cores = len(os.sched_getaffinity(0))
    with open_store(folder, read.name, any_code=bool(any_code), write=not dry_run) as store:
        if any_code is None and not dry_run:
            require_this_code(read, store, chosen)
        values: dict[str, Any] = {"results": None, "markdown": None, "report": None}
        pool: Pool = LocalPool(cores if workers is None else workers)
        if not dry_run:
            if ray is not None:
                pool = RayPool(ray)
            with output.progress(read.name) as progress:
                shown_by = partial(expert_of, read, folder=experts)
                run_suite(read, store, chosen, pool, progress, shown_by)
        command = ["ofp-edge", *sys.argv[1:]]
        found = gather(read, store, command=command, pool=pool.name, workers=pool.workers)
        if not dry_run:
            paths = write_reports(store.root, found)
            values.update(zip(("results", "markdown", "report"), map(str, paths), strict=True))
        to_do = remaining(read, store, chosen)
    said = findings(found)
    for line in to_do if dry_run else said:
        output.console.print(line, markup=False)
    done = len(found["cells"])
    output.console.print(f"{done} of {found['cells_planned']} cells are done", markup=False)
    if values["report"]:
        output.console.print(f"{values['report']}, results.md, results.json", markup=False)
    return {
        "suite": read.name,
        "output": str(folder),
        "dry_run": dry_run,
        "cells": found["cells_planned"],
        "cells_done": done,
        "to_do": to_do,
        "comparisons": found["comparisons"],
        "findings": said,
        **values,
    }


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "bench", bench, KEYS)
