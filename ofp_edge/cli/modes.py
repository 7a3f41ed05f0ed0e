"""`ofp-edge modes`: does a policy choose a side, or run between the two?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofp_edge.cli.output import Document, Output, add_command
from ofp_edge.counted import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ofp_edge.evaluate.modes import ModesReport

KEYS = (
    "evaluated", "kind", "sha256", "task", "chunks", "between", "interval", "left", "right",
    "short", "outside", "keeps_left", "keeps_right", "demonstrations", "nfe", "guard", "noise",
    "engine", "precision", "seed", "seconds",
)  # fmt: skip


def modes(
    output: Output,
    artefact: Annotated[Path, typer.Argument(help="Policy or bundle folder.")],
    task: Annotated[
        str | None,
        typer.Option(help="A two-sided task, e.g. planar/obstacle. Default: the trained one."),
    ] = None,
    chunks: Annotated[int, typer.Option(help="Chunks to draw, one a decision state.")] = 2000,
    nfe: Annotated[
        int | None, typer.Option(help="Network evaluations a chunk. Default: as for eval.")
    ] = None,
    guard: Annotated[
        int, typer.Option(help="Noises a guarded choice is made among, 3 or more. 1: unguarded.")
    ] = 1,
    noise_cold: Annotated[
        float | None,
        typer.Option(help="Noise that a chunk starts from, 0..2. Default: the policy's own."),
    ] = None,
    cold_nfe: Annotated[
        int | None,
        typer.Option(help="Evaluations of a cold chunk, if more. Default: the policy's own."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Run number, of noise and of 10000 unseen episodes.")
    ] = 0,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, int8 … Default: the artefact's own.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="onnxruntime, executorch. Default: the bundle's own.")
    ] = None,
) -> Document:
    """Measure how often cold chunks run between the two sides of a two-sided task."""
    from ofp_edge.evaluate.modes import measure_modes

    began = time.monotonic()
    with output.progress("measuring") as progress:
        report = measure_modes(
            artefact,
            task,
            chunks=chunks,
            nfe=nfe,
            guard=guard,
            noise_cold=noise_cold,
            cold_nfe=cold_nfe,
            seed=seed,
            engine=engine,
            precision=precision,
            progress=progress,
        )
    output.console.print(_table(artefact, report))
    contestant = report.contestant
    return {
        "evaluated": str(artefact),
        "kind": contestant.kind,
        "sha256": contestant.sha256,
        "task": report.task,
        "chunks": report.chunks,
        "between": report.shares.between,
        "interval": list(report.interval),
        "left": report.shares.left,
        "right": report.shares.right,
        "short": report.shares.short,
        "outside": report.shares.outside,
        "keeps_left": report.keeps_left,
        "keeps_right": report.keeps_right,
        "demonstrations": vars(report.demonstrations),
        "nfe": contestant.nfe,
        "guard": report.guard,
        "noise": contestant.start.noise_cold if contestant.draws else None,
        "engine": contestant.engine,
        "precision": contestant.precision,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 3),
    }


def _table(artefact: Path, report: ModesReport) -> RenderableType:
    """At most 80 columns, the path apart."""
    from rich.table import Table

    contestant, own, shown = report.contestant, report.shares, report.demonstrations
    low, high = report.interval
    guard = f", guarded among {report.guard}" if report.guard > 1 else ""
    table = Table(
        title=f"{artefact} on {report.task}",
        title_justify="left",
        box=None,
        caption=f"{counted(report.chunks, 'cold chunk')}, "
        f"{counted(contestant.nfe, 'evaluation')} each{guard}; "
        f"{contestant.engine}, {contestant.precision}",
        caption_justify="left",
    )
    for name in ("", "chunks", "95 %", "demonstrations", "keeps of its share"):
        table.add_column(name, justify="left" if not name else "right")

    def percent(share: float) -> str:
        return f"{100 * share:.1f} %"

    table.add_row(
        "between",
        percent(own.between),
        f"{100 * low:.1f} … {100 * high:.1f} %",
        percent(shown.between),
    )
    table.add_row("left", percent(own.left), "", percent(shown.left), f"{report.keeps_left:.2f}")
    table.add_row(
        "right", percent(own.right), "", percent(shown.right), f"{report.keeps_right:.2f}"
    )
    table.add_row("not so far", percent(own.short), "", percent(shown.short))
    table.add_row("too far out", percent(own.outside), "", percent(shown.outside))
    return table


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "modes", modes, KEYS)
