"""`ofp-edge policy`: the group. Each command lives in a file policy_<name>.py beside this."""

from __future__ import annotations

import typer

from ofp_edge.cli.output import add_group

COMMANDS = ("set",)


def add(app: typer.Typer) -> None:
    """Register the group."""
    add_group(app, "policy", COMMANDS, "Change what a trained policy says of itself.")
