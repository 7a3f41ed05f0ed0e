"""`ofp-edge`: the table of commands. Each command lives in the file of its name beside this one.

Nothing heavy is imported here before `main` has taken care of Ctrl-C.
"""

from __future__ import annotations

import importlib
import io
import sys
from typing import TYPE_CHECKING, Any

import ofp_edge
from ofp_edge.signals import end_on_interrupt

if TYPE_CHECKING:
    import typer

COMMANDS = (
    "collect", "data", "import", "train", "distill", "eval", "modes", "tune", "bench", "calibrate",
    "policy", "quantize", "compile", "inspect", "targets", "wheels", "doctor", "profile",
    "profile_loop", "compare", "robots", "cameras", "rig", "run", "serve", "service", "log",
    "replay",
)  # fmt: skip


def print_version(wanted: bool) -> None:
    """The callback of --version."""
    import typer

    if wanted:
        typer.echo(ofp_edge.__version__)
        raise typer.Exit


def build_app() -> typer.Typer:
    """Every command file offers `add(app)`."""
    import typer

    app = typer.Typer(
        name="ofp-edge",
        help="Train, quantise, compile and run one-step flow policies on a robot's own computer.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )

    version_option: Any = typer.Option(
        False,
        "--version",
        help="Print the version and exit.",
        is_eager=True,  # before a missing command is complained of
        callback=print_version,
    )

    @app.callback()
    def root(version: bool = version_option) -> None:
        pass

    for name in COMMANDS:
        importlib.import_module(f"ofp_edge.cli.{name}").add(app)
    return app


def main() -> None:
    """The console script."""
    end_on_interrupt()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may have ASCII and no more
    build_app()()
