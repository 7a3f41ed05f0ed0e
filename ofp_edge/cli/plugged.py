"""What `robots` and `cameras` share: a table of drivers, and what is plugged in or listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ofp_edge.cli.output import Document, Output, foreign

if TYPE_CHECKING:
    from ofp_edge.runtime.drivers import Driver
    from ofp_edge.runtime.plugged import Plugged

KEYS = ("drivers", "found", "lerobot_plugins", "notes")
Network = Annotated[
    float | None,
    typer.Option(
        "--network", metavar="SECONDS", min=0.1, max=60.0,
        help="Also listen for so long for ROS 2 nodes; 3 is enough. Publishes nothing.",
    ),
]  # fmt: skip
Domain = Annotated[
    int | None,
    typer.Option(min=0, max=232, help="Of ROS 2; by default ROS_DOMAIN_ID, else 0."),
]


def listened(
    kind: str, seconds: float | None, domain: int | None
) -> tuple[list[Plugged], list[str]]:
    """Return what of this kind, "robot" or "camera", ROS 2's domain has, and notes on it."""
    if seconds is None:
        return [], []
    from ofp_edge.runtime.ros2.found import found_in_domain

    found, note = found_in_domain(kind, domain, seconds)
    return found, [note]


def _indented(title: str, text: str) -> Table:
    """A line that is broken between words, under its title."""
    table = Table.grid(padding=(0, 2))
    table.add_row(f"  {title:<7}", foreign(text))
    return table


def show(
    output: Output,
    drivers: Sequence[Driver],
    found: Sequence[Plugged],
    plugins: Sequence[str],
    notes: Sequence[str],
) -> Document:
    """Print both, and return the document."""
    from ofp_edge.origin import install_line
    from ofp_edge.runtime.drivers import shown_options

    console = output.console
    for item in drivers:
        console.print(f"[bold]{foreign(item.driver)}[/]: {foreign(item.what)}", soft_wrap=True)
        if not item.installed():
            console.print(f"  needs    {foreign(install_line(item.extra))}", soft_wrap=True)
        if options := shown_options(item.options()):
            console.print(_indented("options", options))
        if item.note:
            console.print(_indented("note", item.note))
    console.print("[bold]found[/]" if found else "nothing is plugged in that is known here")
    for device in found:
        fits = f" -> {device.driver}" if device.driver else ""
        serial = f", serial {device.serial}" if device.serial else ""
        line = f"  {device.kind} {device.device}: {device.about}{serial}{fits}"
        console.print(foreign(line), soft_wrap=True)
    for name in plugins:
        console.print(foreign(f"  LeRobot's plug-in {name}: docs/robots.md"), soft_wrap=True)
    for note in notes:
        console.print(f"[yellow]note:[/] {foreign(note)}", soft_wrap=True)
    document: dict[str, Any] = {
        "drivers": [item.to_json() for item in drivers],
        "found": [device.to_json() for device in found],
        "lerobot_plugins": list(plugins),
        "notes": list(notes),
    }
    return document
