"""`ofp-edge wheels`: everything a robot installs, in one folder, for a board without a network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command

KEYS = (
    "folder", "board", "python", "extras", "wheels", "download_bytes", "unpacked_bytes", "install",
    "note",
)  # fmt: skip
LIST = "wheels.json"


def wheels(
    output: Output,
    board: Annotated[str, typer.Option(help="See `ofp-edge targets`.")],
    python: Annotated[
        str, typer.Option(help="The robot's Python, e.g. 3.11; JetPack 6 has 3.10, 7 has 3.12.")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    extra: Annotated[
        list[str] | None,
        typer.Option(
            help="What to bring besides ofp-edge; may be repeated. Default: onnxruntime, "
            "executorch, realsense; on an Orin: jetson, realsense."
        ),
    ] = None,
    find_links: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder with more wheels; may be repeated. ofp-edge's own two are taken from it "
            "where it has this version, and built otherwise."
        ),
    ] = None,
    force: Force = False,
) -> Document:
    """Collect every wheel that a board needs, to install there without a network."""
    from ofp_edge.files import new_folder, write_json
    from ofp_edge.runtime.runners.table import ENGINES
    from ofp_edge.targets.own_wheels import bring_own
    from ofp_edge.targets.systems import system
    from ofp_edge.targets.wheels import closure, collect_wheels, document

    chosen = system(board, python)
    extras = list(extra or chosen.extras)
    wanted = f"ofp-edge[{','.join(extras)}]"
    links = [x.resolve() for x in find_links or ()]

    def say(text: str) -> None:
        output.log.print(f"wheels for {board}: {text}", markup=False, soft_wrap=True)

    with new_folder(out, force=force, marker=LIST) as folder:
        bring_own(folder, chosen, links, say, executorch="executorch" in extras)
        found = collect_wheels(folder, chosen, [wanted], links, say)
        rows = document(found)
        sizes = {
            engine: sum(x.unpacked for x in closure(found, chosen, f"ofp-edge[{engine}]"))
            for engine in ENGINES
            if engine in extras
        }
        install = (
            f"python{python} -m venv {chosen.venv}.venv && .venv/bin/pip install --no-index "
            f"--find-links {shlex.quote(out.name)} {shlex.quote(wanted)}"
        )
        values = {
            "folder": out,
            "board": board,
            "python": python,
            "extras": extras,
            "wheels": rows,
            "download_bytes": sum(x["size"] for x in rows),
            "unpacked_bytes": sizes,
            "install": install,
            "note": chosen.note,
        }
        write_json(folder / LIST, {"schema_version": 1, **values, "folder": None})
    total = values["download_bytes"] / 1e6
    output.console.print(f"{out}: {len(rows)} wheels, {total:.0f} MB, for {board}, Python {python}")
    for engine, size in sizes.items():
        output.console.print(f"  with {engine} alone {size / 1e6:.0f} MB when installed")
    output.console.print(f"copy it there, then: {install}", markup=False, soft_wrap=True)
    if chosen.note:
        output.console.print(chosen.note, markup=False, soft_wrap=True)
    return values


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "wheels", wheels, KEYS)
