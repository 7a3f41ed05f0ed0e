"""`ofp-edge data`: the group. Each command lives in a file data_<name>.py beside this."""

from __future__ import annotations

import typer

from ofp_edge.cli.output import add_group

COMMANDS = ("info", "convert", "cache")


def add(app: typer.Typer) -> None:
    """Register the group."""
    add_group(app, "data", COMMANDS, "Demonstrations from elsewhere: look at them, convert them.")
