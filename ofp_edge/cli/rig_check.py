"""`ofp-edge rig check`: all that is wrong with a rig file, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Output, add_command, foreign

KEYS = ("rig", "bundle", "open", "wrong", "ok")


def check(
    output: Output,
    rig: Annotated[Path, typer.Argument(help="The robot's rig file (TOML).")],
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle that is to run: its fields, rate and cameras.")
    ] = None,
) -> Document:
    """Check a rig: its entries, its drivers and devices here, and against a bundle.

    Prints everything that is wrong or still open ("?"), a line each, and exits with 1 if there is
    anything. It opens no robot and no camera.
    """
    from ofp_edge.bundle import open_bundle
    from ofp_edge.runtime.rig_check import check_rig

    opened = None if bundle is None else open_bundle(bundle)
    found = check_rig(rig, opened)
    for question in found.asked:
        output.console.print(f"[yellow]open[/]   {foreign(question)}", soft_wrap=True)
    for line in found.wrong:
        output.console.print(f"[red]wrong[/]  {foreign(line)}", soft_wrap=True)
    ok = not (found.asked or found.wrong)
    if ok:
        against = "" if bundle is None else f" and fits {bundle}"
        output.console.print(foreign(f"{rig} is complete{against}"), soft_wrap=True)
    output.exit_code = 0 if ok else 1
    return {
        "rig": rig,
        "bundle": bundle,
        "open": [{"where": x.where, "about": x.about} for x in found.asked],
        "wrong": found.wrong,
        "ok": ok,
    }


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "check", check, KEYS)
