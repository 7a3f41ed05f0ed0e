"""`ofp-edge tune`: choose how chunks start, and the refinement, by validation episodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ofp_edge.cli.output import Document, Output, add_command
from ofp_edge.extras import require
from ofp_edge.start import JUMP, MEAN

KEYS = (
    "policy", "data", "task", "dataset", "episodes", "first_seed", "latency_ms", "rig", "nfe",
    "warm", "refine", "chosen", "before", "rule", "written", "seconds",
)  # fmt: skip


def tune(
    output: Output,
    policy: Annotated[Path, typer.Argument(help="Policy folder that train wrote; changed.")],
    task: Annotated[
        str | None, typer.Option(help="Simulated task. Default: the policy's own.")
    ] = None,
    episodes: Annotated[
        int, typer.Option(help="Validation episodes a setting: seeds of their own.")
    ] = 100,
    nfe: Annotated[
        int | None,
        typer.Option(help="Evaluations a chunk of the starts. Default: 1, or the method's own."),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="Measure open loop on the held-out episodes of the dataset that it was trained "
            "on: no simulator."
        ),
    ] = None,
    latency_ms: Annotated[
        float | None,
        typer.Option(help="L in ms: what was seen at t acts at t + L. Default: the rig's, else 0."),
    ] = None,
    rig: Annotated[
        Path | None,
        typer.Option(help="Rig file whose L, limits and hand-over hold in the episodes."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; the result does not depend on it.")] = 2,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the choice, change nothing.")
    ] = False,
) -> Document:
    """Choose how a policy's chunks start, and its refinement, and write them into its folder.

    Tries t_w 0 (cold), 0.3 … 0.7, by jumps and to the mean, with noise 0 … 1 of cold and of warm
    starts, the better third each time on twice the episodes; then a second evaluation at 0.3 … 0.9.
    The choice is stored in config.json, the table in tuning.json.
    """
    require("torch", "train")
    from ofp_edge.evaluate.tune import tune_policy
    from ofp_edge.rig.file import read_rig

    limits = None if rig is None else read_rig(rig)
    began = time.monotonic()
    with output.progress("tuning") as progress:
        tuned = tune_policy(
            policy,
            task=task,
            episodes=episodes,
            nfe=nfe,
            dataset=dataset,
            latency_ms=latency_ms,
            rig=limits,
            workers=workers,
            dry_run=dry_run,
            progress=progress,
        )
    values = tuned.table
    chosen, where = values["chosen"], values["task"] or values["dataset"]
    late = f", L = {values['latency_ms']:g} ms" if values["latency_ms"] else ""
    output.console.print(
        f"{policy} on {values['episodes']} {values['data']}, {where}{late}", soft_wrap=True
    )
    start = f"noise {chosen['noise_cold']:g} cold"
    if chosen["t_w"] is not None:
        start += f", {chosen['noise_warm']:g} warm"
        way = {None: "", JUMP: " by jumps", MEAN: " to the mean"}[chosen["warm_step"]]
        start = f"t_w {chosen['t_w']:g}{'' if chosen['t_w'] else ' (cold)'}{way}, {start}"
    _show(output, ("t_w", "way", "cold", "warm"), values["warm"], "against the best")
    refined = ""
    if values["refine"]:
        _show(output, ("t_refine",), values["refine"], "against one step")
        refined = (
            f", refinement {'on' if chosen['refine'] else 'off'} (t_refine {chosen['t_refine']:g})"
        )
    output.console.print(
        f"chosen: {start}{refined}; "
        f"{'nothing changed' if dry_run else 'written to config.json and tuning.json'}",
        soft_wrap=True,
    )
    seconds = round(time.monotonic() - began, 3)
    return {"policy": policy, **values, "written": not dry_run, "seconds": seconds}


def _show(output: Output, first: Sequence[str], rows: list[dict[str, Any]], against: str) -> None:
    """A table whose first columns are a setting's: its time, then its noises."""
    from ofp_edge.evaluate.report import short

    names = {
        "success": "success",
        "chunk_error": "error",
        "chunk_boundary_jump": "jump",
        "jerk": "jerk",
        "flips": "flips",
    }
    keys = [key for key in names if rows[0].get(key) is not None]
    table = Table(box=None)
    for name in (*first, *(names[key] for key in keys), against):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = row["interval_of_difference"]
        setting = (row["t"], row["warm_step"], row["noise_cold"], row["noise_warm"])[: len(first)]
        table.add_row(
            *("–" if x is None else x if isinstance(x, str) else f"{x:g}" for x in setting),
            *(short(row[key]) for key in keys),
            f"{row['difference']:+.3f}  ({low:+.3f} … {high:+.3f})",
        )
    output.console.print(table)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "tune", tune, KEYS)
