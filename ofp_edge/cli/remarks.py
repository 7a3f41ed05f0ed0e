"""What the cameras remark on goes to the terminal and into the log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from ofp_edge.runtime.session import Session


def tell_remarks(session: Session, console: Console) -> None:
    """Listen to what is said of every camera of the session."""
    for name, remarks in session.observer.remarks.items():
        remarks.listen(_teller(name, session, console))


def _teller(name: str, session: Session, console: Console) -> Callable[[str, str], None]:
    def tell(what: str, detail: str) -> None:
        line = f"{what}: {detail}" if detail else what
        now = time.monotonic_ns()
        session.loop.telemetry.write(
            "/event", now, t_ns=now, what="camera", detail=f"{name}: {line}", episode=-1
        )
        console.print(f"[yellow]camera {escape(name)}:[/] {escape(line)}", soft_wrap=True)

    return tell
