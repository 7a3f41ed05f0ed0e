"""What `ofp-edge run` says at the end: one document, and the same for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from ofp_edge.cli.output import Document, Output
from ofp_edge.counted import counted

if TYPE_CHECKING:
    from ofp_edge.runtime.run_files import Request
    from ofp_edge.runtime.session import Session

KEYS = (
    "bundle", "rig", "engine", "precision", "threads", "nfe", "guard", "start", "seed", "dry_run",
    "seconds", "ticks", "skipped_ticks", "misses", "held", "clamped", "limited", "late_sends",
    "slow_sends", "refined", "stale_frames", "plans", "episodes", "successes", "success",
    "latency_ms", "capture_to_ready_ms", "tick_jitter_us_p99",
    "stopped_because", "log", "log_files", "log_files_deleted", "log_rows_lost", "recorded",
    "skewed_frames", "frozen_frames", "stateless_frames", "camera_remarks", "beyond_training",
    "bridged_readings", "instructions", "refused_instructions", "policy_server", "unanswered",
    "realtime", "wakeup_us",
)  # fmt: skip


def run_document(session: Session, request: Request, dry_run: bool) -> Document:
    """KEYS but those of the kernel."""
    report, counters = session.loop.report, session.loop.controller.counters
    good = report.successes
    ready = report.capture_to_ready_ns
    jitter = report.tick_late_ns.percentile(99)
    return {
        "bundle": str(request.bundle),
        "rig": str(request.rig),
        "engine": session.choice.engine,
        "precision": session.choice.precision,
        "threads": session.choice.threads,
        "nfe": session.nfe,
        "guard": request.guard,
        "start": asdict(session.start) if session.inference.draws else None,
        "seed": request.seed,
        "dry_run": dry_run,
        "seconds": round(report.seconds, 3),
        "ticks": counters.ticks,
        "skipped_ticks": report.skipped_ticks,
        "misses": counters.misses,
        "held": counters.held,
        "clamped": counters.clamped,
        "limited": counters.limited,
        "late_sends": report.late_sends,
        "slow_sends": report.slow_sends,
        "refined": counters.refined,
        "stale_frames": session.observer.counters.stale,
        "plans": counters.plans,
        "episodes": len(good),
        "successes": sum(good),
        "success": sum(good) / len(good) if good else None,
        "latency_ms": session.rig.timing.latency_ms,
        "capture_to_ready_ms": {
            name: None if (x := ready.percentile(p)) is None else x / 1e6
            for name, p in (("p50", 50), ("p99", 99), ("max", 100))
        },
        "tick_jitter_us_p99": None if jitter is None else jitter / 1e3,
        "stopped_because": report.stopped_because,
        "policy_server": None if request.policy_server is None else request.policy_server.url,
        "unanswered": session.loop.planner.unanswered,
        "instructions": report.instructions,
        "refused_instructions": report.refused_instructions,
        "skewed_frames": session.observer.counters.skewed,
        "frozen_frames": session.observer.counters.frozen,
        "stateless_frames": session.observer.counters.stateless,
        "bridged_readings": counters.bridged,
        "camera_remarks": {
            name: dict(remarks.counts) for name, remarks in session.observer.remarks.items()
        },
        "beyond_training": [asdict(x) for x in session.inference.beyond.passed],
        "log": None if request.log is None else str(request.log),
        "log_files": 0 if session.log is None else session.log.series.files,
        "log_files_deleted": 0 if session.log is None else session.log.series.deleted,
        "log_rows_lost": 0 if session.log is None else session.log.lost,
        "recorded": None
        if (kept := session.recorder) is None
        else {
            "file": str(request.record_calibration),
            "moments": kept.kept,
            "seen": kept.seen,
            "lost": kept.lost,
        },
    }


def show_run(output: Output, values: Document) -> None:
    """A table for people; values: of `run_document`."""
    from rich.table import Table

    grid = Table(box=None, show_header=False, title="Episode report", title_justify="left")
    grid.add_column(style="dim")
    grid.add_column()
    ready = values["capture_to_ready_ms"]
    if values["success"] is not None:
        rate = f"{values['successes']} of {values['episodes']} succeeded"
        grid.add_row("episodes", f"{rate} ({100 * values['success']:.0f} %)")
    grid.add_row(
        "ticks", f"{values['ticks']}, {values['skipped_ticks']} skipped, {values['held']} held"
    )
    grid.add_row(
        "commands",
        f"{values['clamped']} clamped to the range, {values['limited']} limited"
        f" by the safety layer, {values['late_sends']} not sent: too late for their slot, "
        f"{values['slow_sends']} sent for longer than it",
    )
    grid.add_row(
        "plans", f"{values['plans']}, {values['misses']} late, {values['refined']} refined"
    )
    if values["unanswered"]:
        grid.add_row("without an answer", f"{values['unanswered']} questions to the policy server")
    if ready["p50"] is not None:
        grid.add_row(
            "capture to chunk ready",
            f"p50 {ready['p50']:.1f} ms, p99 "
            f"{ready['p99']:.1f} ms; L = {values['latency_ms']:g} ms",
        )
    if values["tick_jitter_us_p99"] is not None:
        grid.add_row("tick jitter, p99", f"{values['tick_jitter_us_p99']:.0f} µs")
    if far := values["beyond_training"]:
        first = far[0]
        more = f", and {counted(len(far) - 1, 'number')} more" if len(far) > 1 else ""
        grid.add_row(
            "beyond training",
            f"{first['number']} in {first['frames']} of {first['of']} observations, furthest "
            f"{first['furthest']:.4g}; the network sees {first['low']:.4g} to "
            f"{first['high']:.4g}{more}",
        )
    grid.add_row("stopped because", values["stopped_because"])
    if values["log"] is not None:
        deleted = values["log_files_deleted"]
        more = f", {values['log_files']} files" if values["log_files"] > 1 else ""
        more += f", {deleted} deleted to make room" if deleted else ""
        grid.add_row("log", f"{values['log']} ({values['log_rows_lost']} rows lost{more})")
    if (kept := values["recorded"]) is not None:
        grid.add_row(
            "for calibration",
            f"{kept['moments']} of {kept['seen']} moments in {kept['file']} ({kept['lost']} lost)",
        )
    output.console.print(grid)
