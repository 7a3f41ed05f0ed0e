"""`run --live`: what the loop is doing now, five times a second, beside the loop and not in it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from ofp_edge.runtime.control.events import Command
    from ofp_edge.runtime.control.run_report import RunReport
    from ofp_edge.runtime.session import Session

_PERIOD_S = 0.2
_LATELY = 500  # values


class LiveView:
    """Draws in a thread of its own; the loop only leaves its newest command behind."""

    def __init__(self, console: Console) -> None:
        self._command: Command | None = None
        self._over = threading.Event()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    @contextlib.contextmanager
    def of(self, session: Session) -> Iterator[None]:
        """Show this session until the context ends."""
        thread = threading.Thread(target=self._draw, args=(session,), name="live", daemon=True)
        self._live.start()
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            with contextlib.suppress(OSError):  # a terminal that is closed ends the run in order
                self._live.stop()

    def remember(self, report: RunReport, command: Command) -> None:
        """For the loop: its newest command."""
        self._command = command

    def _draw(self, session: Session) -> None:
        while not self._over.wait(_PERIOD_S):
            self._live.update(live_table(session, self._command), refresh=True)


def live_table(session: Session, command: Command | None) -> Table:
    """One look at a run."""
    loop, counters = session.loop, session.loop.controller.counters
    table = Table(box=None, show_header=False)
    table.add_column(style="dim", min_width=16)
    table.add_column()
    what = "waiting for frames" if command is None else command.kind
    index = "" if command is None or command.index is None else f", index {command.index:.1f}"
    table.add_row("now", what + index)
    if command is not None and command.action is not None:
        table.add_row("action", " ".join(f"{value:+.3f}" for value in command.action[:12]))
    table.add_row(
        "ticks",
        f"{counters.ticks}, {loop.rate.skipped} skipped, {counters.held} held, "
        f"{loop.report.late_sends} too late",
    )
    table.add_row("plans", f"{counters.plans}, {counters.misses} late, {counters.refined} refined")
    now = f" (now {', '.join(command.cut)})" if command is not None and command.cut else ""
    table.add_row("limits", f"{counters.clamped} clamped, {counters.limited} limited{now}")
    ready = loop.report.capture_to_ready_ns.newest(_LATELY)
    late = loop.report.tick_late_ns.newest(_LATELY)
    if len(ready) and len(late):
        table.add_row(
            "slowest lately",
            f"capture to ready {ready.max() / 1e6:.1f} ms of L = "
            f"{session.rig.timing.latency_ms:g} ms, wake-up {late.max() / 1e3:.0f} µs "
            "late",
        )
    seen = session.observer.counters
    table.add_row(
        "frames",
        f"{seen.frames}, {seen.stale} stale, {seen.repeated} repeated, "
        f"{seen.future} from the future",
    )
    if session.log is not None:
        table.add_row("log", f"{session.log.lost} rows lost {session.log.trouble}")
    return table
