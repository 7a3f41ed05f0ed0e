"""A command of ofp-edge in this process: fine, or OfpError with its one line."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from typing import Any

from ofp_edge.errors import OfpError


@functools.cache
def _app() -> Any:
    import typer.main

    from ofp_edge.cli.main import build_app

    return typer.main.get_command(build_app())


def warm() -> None:
    """Import the commands."""
    _app()


def command(*arguments: str) -> dict[str, Any]:
    """Its document. OfpError: what it said; anything that escapes it, escapes from here.

    stdout has to hold one JSON document and nothing else, whatever the exit code.
    """
    said, noise = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(noise):
        code = _app().main([*arguments, "--json"], "ofp-edge", standalone_mode=False)
    document: dict[str, Any] = json.loads(said.getvalue(), parse_constant=_refuse)
    if "error" in document:
        if code != 1:
            raise AssertionError(f"an error with exit code {code}: {document}")
        raise OfpError(document["error"])
    if code not in (0, 1, None):
        raise AssertionError(f"exit code {code}: {document}")
    return document


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} in a JSON document")
