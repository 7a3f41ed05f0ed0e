"""`ofp-edge replay`: a run's log again, through the same network and the same state machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Output, add_command, foreign

KEYS = (
    "log", "bundle", "same_bundle", "engine", "precision", "seed", "nfe", "chunks", "chunks_same",
    "ticks", "ticks_same", "missing_rows", "files_left_out", "whole", "same", "differences",
)  # fmt: skip
_LONGEST_DETAIL = 160


def replay(
    output: Output,
    log: Annotated[
        Path, typer.Argument(help="MCAP file that `run --log` wrote; of several, the first.")
    ],
    bundle: Annotated[
        Path,
        typer.Option(
            help="Bundle folder: the run's own, or another one; of a run by --policy-server the "
            "policy's description."
        ),
    ],
    engine: Annotated[
        str | None, typer.Option(help="onnxruntime, executorch. Default: the run's own.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, int8 … Default: the run's own.")
    ] = None,
) -> Document:
    """Run a log again and say whether every action is the same, bit for bit.

    Exit code 1 when one differs, or when rows are missing; the differences are listed. A policy
    server's chunks can't be made again: they are the log's, and the actions are judged.
    """
    from ofp_edge.bundle import open_bundle
    from ofp_edge.runtime.infer.load import load_inference
    from ofp_edge.runtime.log.reader import LogReader
    from ofp_edge.runtime.log.rows import made_of
    from ofp_edge.runtime.openpi.described import ENGINE, PRECISION, read_description
    from ofp_edge.runtime.openpi.logged import logged_inference
    from ofp_edge.runtime.openpi.remote import RemotePolicy
    from ofp_edge.runtime.replay import replay as again

    reader = LogReader(log)
    description = read_description(bundle) if bundle.is_file() else None
    opened = open_bundle(bundle) if description is None else description.bundle
    made = made_of(reader.header, str(log))
    same_bundle = made.bundle_sha256 == opened.sha256
    if not same_bundle:
        output.log.print(f"[yellow]{bundle} is not the bundle of this run[/]")
    if description is not None:
        RemotePolicy.choice(engine, precision, None)  # there is nothing to choose
        engine, precision = ENGINE, PRECISION
        inference = logged_inference(description, reader)
        output.log.print("the chunks are the log's own: a policy server made them")
    else:
        engine, precision = opened.choose(engine or made.engine, precision or made.precision)
        inference = load_inference(
            opened,
            engine,
            precision,
            threads=made.threads,
            seed=made.seed,
            nfe=made.nfe,
            start=made.start,
            guard=made.guard,
        )
    try:
        report = again(reader, inference)
    finally:
        inference.close()
    console = output.console
    console.print(f"chunks   {report.chunks_same} of {report.chunks} bit for bit the same")
    console.print(f"ticks    {report.ticks_same} of {report.ticks} bit for bit the same")
    if report.missing_rows:
        console.print(f"missing  {report.missing_rows} rows are not in the log")
    if report.files_left_out:
        console.print(
            f"left out {report.files_left_out} files: those before them were deleted to make room"
        )
    if not report.whole:
        console.print("the log has no end: the run was killed, or its disk was full")
    for difference in report.differences:
        apart = "" if difference.apart is None else f" by {difference.apart:.3g}"
        detail = difference.detail
        if len(detail) > _LONGEST_DETAIL:  # the document has all of it
            detail = f"{detail[:_LONGEST_DETAIL]}…"
        line = f"  {difference.what} of {difference.t_ns} ns{apart} {foreign(detail)}"
        console.print(line, soft_wrap=True)
    output.exit_code = 0 if report.same else 1
    return {
        "log": str(log),
        "bundle": str(bundle),
        "same_bundle": same_bundle,
        "engine": engine,
        "precision": precision,
        "seed": made.seed,
        "nfe": made.nfe,
        "chunks": report.chunks,
        "chunks_same": report.chunks_same,
        "ticks": report.ticks,
        "ticks_same": report.ticks_same,
        "missing_rows": report.missing_rows,
        "files_left_out": report.files_left_out,
        "whole": report.whole,
        "same": report.same,
        "differences": [
            {
                "what": d.what,
                "t_ns": d.t_ns,
                "detail": d.detail,
                "apart": d.apart if d.apart is not None and d.apart < float("inf") else None,
            }
            for d in report.differences
        ],
    }


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "replay", replay, KEYS)
