"""`ofp-edge data convert`: demonstrations of any layout as an ofp-edge dataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command, foreign
from ofp_edge.extras import require

KEYS = (
    "dataset", "source", "layout", "episodes", "frames", "observations", "actions", "control_hz",
    "guessed", "odd", "raw_bytes", "seconds",
)  # fmt: skip


def convert(
    output: Output,
    source: Annotated[
        Path, typer.Argument(help="Dataset of any layout, or a mapping file that names one.")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Dataset folder to write (Zarr).")],
    force: Force = False,
) -> Document:
    """Write a dataset of any layout as ours, frame by frame: memory does not grow with its size.

    Without a mapping file a guess is used and printed. Images keep their recorded size and are
    compressed without loss: a set of videos becomes many times larger.
    """
    for module in ("zarr", "numcodecs"):
        require(module, "data")
    from ofp_edge.data.convert import convert as run

    began = time.monotonic()
    with output.progress("converting") as progress:
        done = run(source, out, force=force, progress=progress)
    seconds, reading = time.monotonic() - began, done.reading
    say = output.console.print
    for line in reading.mapping.guessed:
        say(f"guess: {line}", soft_wrap=True, markup=False)
    several = [reading.several_tasks] if reading.several_tasks else []
    odd = [*reading.odd, *reading.remarks, *several]
    for line in odd:
        output.log.print(f"[yellow]odd:[/] {foreign(line)}", soft_wrap=True)
    fields = [x.name for x in reading.interface.observations]
    actions = [x.name for x in reading.interface.actions]
    say(
        f"{out}: {len(reading.episodes)} episodes, {done.frames} frames at "
        f"{reading.control_hz:g} Hz in {seconds:.1f} s ({done.raw_bytes / 1e6:.1f} MB before "
        f"compression); sees {', '.join(fields)}; does {', '.join(actions)}",
        soft_wrap=True,
    )
    return {
        "dataset": out,
        "source": reading.source.path,
        "layout": reading.source.layout,
        "episodes": len(reading.episodes),
        "frames": done.frames,
        "observations": fields,
        "actions": actions,
        "control_hz": reading.control_hz,
        "guessed": reading.mapping.guessed,
        "odd": odd,
        "raw_bytes": done.raw_bytes,
        "seconds": seconds,
    }


def add(app: typer.Typer) -> None:
    """Register the command in its group."""
    add_command(app, "convert", convert, KEYS)
