"""What is remarked on of the cameras and of the robot's state goes to the terminal and the log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from ofp_edge.runtime.infer.beyond import WHAT
from ofp_edge.runtime.session import Session


def tell_remarks(session: Session, console: Console) -> None:
    """Listen to what is said of every camera of the session, and of states beyond training."""
    for name, remarks in session.observer.remarks.items():
        remarks.listen(_camera(name, session, console))
    session.inference.beyond.remarks.listen(_beyond(session, console))


def _camera(name: str, session: Session, console: Console) -> Callable[[str, str], None]:
    def tell(what: str, detail: str) -> None:
        line = f"{what}: {detail}" if detail else what
        _log(session, "camera", f"{name}: {line}")
        console.print(f"[yellow]camera {escape(name)}:[/] {escape(line)}", soft_wrap=True)

    return tell


def _beyond(session: Session, console: Console) -> Callable[[str, str], None]:
    def tell(what: str, detail: str) -> None:
        _log(session, WHAT, detail)
        console.print(f"[yellow]{WHAT}:[/] {escape(detail)}", soft_wrap=True)

    return tell


def _log(session: Session, what: str, detail: str) -> None:
    now = time.monotonic_ns()
    session.loop.telemetry.write("/event", now, t_ns=now, what=what, detail=detail, episode=-1)
