"""`ofp-edge rig`: the group. Each command lives in a file rig_<name>.py beside this."""

from __future__ import annotations

import typer

from ofp_edge.cli.output import add_group

COMMANDS = ("new", "check", "delay")


def add(app: typer.Typer) -> None:
    """Register the group."""
    add_group(app, "rig", COMMANDS, "Draft, check and measure the rig file of a robot.")
