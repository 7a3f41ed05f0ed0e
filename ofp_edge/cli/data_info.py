"""`ofp-edge data info`: what a dataset holds, what is odd about it, and how it would be read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ofp_edge.cli.output import Document, Force, Output, add_command, foreign, printable
from ofp_edge.cli.taken import table_of
from ofp_edge.errors import DatasetError
from ofp_edge.files import check_output_file, write_bytes

KEYS = (
    "source", "layout", "task", "episodes", "frames", "lengths", "rates_hz", "keys", "names",
    "robot", "odd", "mapping", "guessed", "taken", "refused", "mapping_file",
)  # fmt: skip


def info(
    output: Output,
    source: Annotated[
        Path, typer.Argument(help="Dataset of any layout, or a mapping file that names one.")
    ],
    write_mapping: Annotated[
        Path | None,
        typer.Option("--write-mapping", help="Write the guess as a mapping file (.toml) to edit."),
    ] = None,
    force: Force = False,
) -> Document:
    """Print a dataset's episodes, keys, shapes, rates and ranges, what is odd, and what is taken.

    Odd are NaN, dimensions that never change, single values that decide a range, times that do not
    fit the rate, quaternions that jump their sign, several tasks, failed episodes. Numbers are read
    whole; of images the first frames of eight episodes.
    """
    from ofp_edge.data.guess import Guess, look, taken_by
    from ofp_edge.data.labels import labels
    from ofp_edge.data.layouts import open_source
    from ofp_edge.data.mapping import SUFFIX, clipped_keys, mapping_text, read_mapping
    from ofp_edge.data.survey import survey

    if write_mapping is not None:
        if write_mapping.suffix != SUFFIX:
            raise DatasetError(f"{write_mapping}: a mapping file's name ends with {SUFFIX}.")
        check_output_file(write_mapping, force=force)
    mapping = read_mapping(source) if source.suffix == SUFFIX and source.is_file() else None
    opened = open_source(mapping.source, mapping.filter_key) if mapping else open_source(source)
    with output.progress("reading") as progress:
        found = survey(opened, progress, clipped_keys(mapping) if mapping else ())
    refused: str | None = None
    if mapping is None:
        try:
            guess = look(opened)
        except DatasetError as cause:
            guess = Guess((), None, str(cause))
        taken, mapping, refused = guess.taken, guess.mapping, guess.refused
    else:
        taken = taken_by(opened, mapping)
    found.odd += labels(opened, mapping)
    frames, lengths = sum(opened.lengths), opened.lengths
    rates = " and ".join(f"{x:g}" for x in opened.rates_hz) or "unknown"
    say = output.console.print
    head = f"{opened.path}: {opened.layout}, task {opened.task or 'unknown'}"
    head += f", robot {opened.robot}" if opened.robot else ""
    say(foreign(head), soft_wrap=True)
    say(
        f"{len(lengths)} episodes of {min(lengths)} to {max(lengths)} frames, {frames} in all, "
        f"{rates} Hz"
    )
    table = Table("key", "frame", "type", "smallest", "largest")
    for key in found.keys:
        low, high = ("?" if x is None else f"{x:.4g}" for x in (key.low, key.high))
        part = "" if key.whole else " (of some)"
        table.add_row(foreign(key.name), str(key.shape), key.dtype, low, high + part)
    say(table)
    for name, names in opened.names.items():
        say(foreign(f"{name}: {', '.join(names)}"), soft_wrap=True)
    for line in found.odd:
        output.log.print(f"[yellow]odd:[/] {foreign(line)}", soft_wrap=True)
    if not found.odd:
        say("nothing odd")
    if taken:
        say(table_of(taken))
    for line in mapping.remarks if mapping else ():
        say(printable(f"guess: {line}"), soft_wrap=True, markup=False)
    if refused:
        say(printable(f"no guess: {refused}"), soft_wrap=True, markup=False)
    if write_mapping is not None:
        if mapping is None:
            raise DatasetError(str(refused))
        write_bytes(write_mapping, mapping_text(mapping, write_mapping).encode())
        say(f"mapping written to {write_mapping}: pass it where a command takes a dataset")
    return {
        "source": opened.path,
        "layout": opened.layout,
        "task": opened.task,
        "episodes": len(lengths),
        "frames": frames,
        "lengths": lengths,
        "rates_hz": opened.rates_hz,
        "keys": [asdict(key) for key in found.keys],
        "names": dict(opened.names),
        "robot": opened.robot,
        "odd": found.odd,
        "mapping": mapping.to_json() if mapping else None,
        "guessed": mapping.guessed if mapping and not refused else [],
        "taken": [asdict(row) for row in taken],
        "refused": refused,
        "mapping_file": write_mapping,
    }


def add(app: typer.Typer) -> None:
    """Register the command in its group."""
    add_command(app, "info", info, KEYS)
