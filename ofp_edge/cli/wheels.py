"""`ofp-edge wheels`: everything a robot installs, in one folder, for a board without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError

KEYS = (
    "folder", "board", "python", "extras", "wheels", "download_bytes", "unpacked_bytes", "install",
)  # fmt: skip
LIST = "wheels.json"
_ENGINES = ("onnxruntime", "executorch")


def wheels(
    output: Output,
    board: Annotated[str, typer.Option(help="See `ofp-edge targets`.")],
    python: Annotated[str, typer.Option(help="The robot's Python, e.g. 3.11.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    extra: Annotated[
        list[str] | None,
        typer.Option(
            help="What to bring besides ofp-edge; may be repeated. Default: onnxruntime, "
            "executorch, realsense."
        ),
    ] = None,
    find_links: Annotated[
        list[Path] | None, typer.Option(help="Folder with wheels that are in no index.")
    ] = None,
    force: Force = False,
) -> Document:
    """Collect every wheel that a board needs, to install there without a network."""
    from ofp_edge.files import new_folder, write_json
    from ofp_edge.targets.boards import board as known_board
    from ofp_edge.targets.own_wheels import build_own, checkout
    from ofp_edge.targets.wheels import closure, collect_wheels, document

    chosen = known_board(board)
    extras = list(extra or (*_ENGINES, "realsense"))
    wanted = f"ofp-edge[{','.join(extras)}]"
    links = [x.resolve() for x in find_links or ()]
    root = checkout()
    if root is None and not links:
        raise OfpError(
            "this ofp-edge was not installed from a checkout, which its own wheels are built from: "
            "give --find-links with a folder that holds them."
        )
    with new_folder(out, force=force, marker=LIST) as folder:
        with output.progress(f"wheels for {board}"):
            if root is not None and not links:
                build_own(root, chosen, folder, executorch="executorch" in extras)
            found = collect_wheels(folder, chosen, python, [wanted], [*links, folder])
        rows = document(found)
        sizes = {
            engine: sum(x.unpacked for x in closure(found, chosen, python, f"ofp-edge[{engine}]"))
            for engine in _ENGINES
            if engine in extras
        }
        install = f"python3 -m pip install --no-index --find-links {out.name} '{wanted}'"
        values = {
            "folder": out, "board": board, "python": python, "extras": extras, "wheels": rows,
            "download_bytes": sum(x["size"] for x in rows), "unpacked_bytes": sizes,
            "install": install,
        }  # fmt: skip
        write_json(folder / LIST, {"schema_version": 1, **values, "folder": None})
    total = values["download_bytes"] / 1e6
    output.console.print(f"{out}: {len(rows)} wheels, {total:.0f} MB, for {board}, Python {python}")
    for engine, size in sizes.items():
        output.console.print(f"  with {engine} alone {size / 1e6:.0f} MB when installed")
    output.console.print(f"copy it there, then: {install}", markup=False, soft_wrap=True)
    return values


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "wheels", wheels, KEYS)
