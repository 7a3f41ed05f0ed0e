"""What `run` was asked of its log, and what becomes of the run when the log can't be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ofp_edge.errors import OfpError
from ofp_edge.runtime.control.stopping import StopFlag
from ofp_edge.runtime.log.series import LEAST_MB, check_log


def check_log_options(log: Path | None, limit_mb: int, require: bool, force: bool) -> None:
    """Refuse before anything is opened. OfpError."""
    if limit_mb < LEAST_MB:
        raise OfpError(f"--log-limit-mb {limit_mb}: expected {LEAST_MB} or more.")
    if log is not None:
        check_log(log, force=force)
    elif require:
        raise OfpError("--require-log: give the log's file with --log.")


def log_trouble_teller(console: Console, stop: StopFlag | None) -> Callable[[str], None]:
    """What says at once that the log has ended before the run. The robot goes on; with `stop` the
    run ends as by Ctrl-C."""

    def tell(trouble: str) -> None:
        goes_on = (
            "the run goes on without" if stop is None else "the run is stopped (--require-log)"
        )
        console.print(
            f"[yellow]the log can't be written:[/] {escape(trouble)}; {goes_on}", soft_wrap=True
        )
        if stop is not None:
            stop.set(f"the log can't be written: {trouble}")

    return tell
