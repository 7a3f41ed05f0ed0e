"""`ofp-edge data info`: what a dataset holds, what is odd about it, how it would be read, and
whether it can be trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Column, Table

from ofp_edge.cli.output import Document, Force, Output, add_command, foreign, printable
from ofp_edge.cli.taken import table_of
from ofp_edge.errors import DatasetError
from ofp_edge.files import check_output_file, write_bytes

if TYPE_CHECKING:
    from ofp_edge.data.judge import Judged

KEYS = (
    "source", "layout", "task", "episodes", "frames", "lengths", "rates_hz", "keys", "names",
    "robot", "odd", "mapping", "guessed", "taken", "refused", "verdict", "mapping_file", "page",
)  # fmt: skip
_COLOURS = {"ready": "green", "look": "yellow", "refused": "red"}


def info(
    output: Output,
    source: Annotated[
        Path, typer.Argument(help="Dataset of any layout, or a mapping file that names one.")
    ],
    page: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Also write all of it with images and curves here (.html)."
        ),
    ] = None,
    write_mapping: Annotated[
        Path | None,
        typer.Option("--write-mapping", help="Write the guess as a mapping file (.toml) to edit."),
    ] = None,
    images: Annotated[
        bool,
        typer.Option("--images", help="Read every image, as training does: it may take long."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where anything is odd.")
    ] = False,
    force: Force = False,
) -> Document:
    """Print a dataset's episodes, keys, shapes, rates and ranges, what is odd, and what is taken.

    Odd are NaN, dimensions that never change, single values that decide a range, times that do not
    fit the rate, quaternions that jump their sign, several tasks, failed episodes. Numbers are read
    whole; of images the first frames of eight episodes.

    The last line is the verdict. The exit code is 1 where training would refuse the dataset.
    """
    from ofp_edge.data.judge import judge
    from ofp_edge.data.mapping import SUFFIX, mapping_text

    if write_mapping is not None:
        if write_mapping.suffix != SUFFIX:
            raise DatasetError(f"{write_mapping}: a mapping file's name ends with {SUFFIX}.")
        check_output_file(write_mapping, force=force)
    if page is not None:
        _check_page(page, force)
    with output.progress("reading") as progress:
        found = judge(source, every=images, progress=progress)
        html = None
        if page is not None:
            from ofp_edge.data.page import render

            html = render(found, page, progress)
    _say(output, found)
    say = output.console.print
    if page is not None and html is not None:
        write_bytes(page, html.encode())
        say(f"page written to {page}")
    if write_mapping is not None and found.mapping is None:
        raise DatasetError(found.refused or f"{source}: no guess.")
    if write_mapping is not None and found.mapping is not None:
        write_bytes(write_mapping, mapping_text(found.mapping, write_mapping).encode())
        say(f"mapping written to {write_mapping}: pass it where a command takes a dataset")
    say(f"[{_COLOURS[found.verdict]}]{foreign(found.said)}[/]", soft_wrap=True)
    if found.verdict == "refused" or (strict and found.verdict == "look"):
        output.exit_code = 1
    opened, mapping = found.source, found.mapping
    return {
        "source": opened.path,
        "layout": opened.layout,
        "task": opened.task,
        "episodes": len(opened.lengths),
        "frames": sum(opened.lengths),
        "lengths": opened.lengths,
        "rates_hz": opened.rates_hz,
        "keys": [asdict(key) for key in found.survey.keys],
        "names": dict(opened.names),
        "robot": opened.robot,
        "odd": found.odd,
        "mapping": mapping.to_json() if mapping else None,
        "guessed": mapping.guessed if mapping and not found.asked else [],
        "taken": [asdict(row) for row in found.taken],
        "refused": found.refused,
        "verdict": found.verdict,
        "mapping_file": write_mapping,
        "page": page,
    }


def _check_page(page: Path, force: bool) -> None:
    from ofp_edge.extras import require

    if page.suffix != ".html":
        raise DatasetError(f"{page}: a page's name ends with .html.")
    require("imagecodecs", "data")
    check_output_file(page, force=force)


def _say(output: Output, found: Judged) -> None:
    """All but the verdict, for people."""
    opened, say = found.source, output.console.print
    lengths = opened.lengths
    rates = " and ".join(f"{x:g}" for x in opened.rates_hz) or "unknown"
    head = f"{opened.path}: {opened.layout}" + f", robot {opened.robot}" * bool(opened.robot)
    say(foreign(head), soft_wrap=True)
    say(foreign(f"task: {found.tasks}"), soft_wrap=True)
    say(
        f"{len(lengths)} episodes of {min(lengths)} to {max(lengths)} frames, {sum(lengths)} in "
        f"all, {rates} Hz"
    )
    if len(found.episodes) < len(lengths):
        say(f"of these the mapping chooses {len(found.episodes)}")
    table = Table(
        *(Column(x, overflow="fold") for x in ("key", "frame", "type", "smallest", "largest")),
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    for key in found.survey.keys:
        low, high = ("?" if x is None else f"{x:.4g}" for x in (key.low, key.high))
        part = "" if key.whole else " (of some)"
        table.add_row(foreign(key.name), str(key.shape), key.dtype, low, high + part)
    say(table)
    for name, names in opened.names.items():
        say(foreign(f"{name}: {', '.join(names)}"), soft_wrap=True)
    for line in found.odd:
        output.log.print(f"[yellow]odd:[/] {foreign(line)}", soft_wrap=True)
    if found.taken:
        say(table_of(found.taken))
    for line in found.mapping.remarks if found.mapping else ():
        say(printable(f"guess: {line}"), soft_wrap=True, markup=False)


def add(app: typer.Typer) -> None:
    """Register the command in its group."""
    add_command(app, "info", info, KEYS)
