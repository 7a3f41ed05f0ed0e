"""`ofp-edge calibrate`: the group. Each command lives in a file calibrate_<name>.py beside this."""

from __future__ import annotations

import importlib

import typer

COMMANDS = ("samples", "board", "record", "camera", "hand_eye")


def add(app: typer.Typer) -> None:
    """Register the group; every file offers `add(group)`."""
    group = typer.Typer(
        help="Choose samples for quantisation; calibrate a robot's cameras.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for name in COMMANDS:
        importlib.import_module(f"ofp_edge.cli.calibrate_{name}").add(group)
    app.add_typer(group, name="calibrate")
