"""The document of `profile-loop`: every link of the chain, jitter, misses, and how much they are
worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofp_edge.profile.latency import LatencyStatistics, proposed_latency_ms
from ofp_edge.profile.loop_probe import BUSY, Series
from ofp_edge.profile.schedule import Times, schedule, schedule_notes
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.runtime.session import Session

TICKS_FOR_A_VERDICT, SECONDS_FOR_A_VERDICT = 10_000, 600.0
KIND = "profile-loop"


def summarise_loop(
    session: Session, series: Series, *, cold_start: dict[str, Any], seconds: float,
    rig: Path, report: Path, budget_ms: float | None, out_of_slot: int,
    realtime: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """Summarise the series of a LoopProbe, without the warm-up. Times are in milliseconds."""
    spec, loop = session.bundle.spec, session.loop
    statistics = {k: LatencyStatistics.of_ns(v).to_json() for k, v in series.items() if len(v)}
    counters, observer = loop.controller.counters, loop.observer
    ready, whole = (statistics.get(k) for k in ("capture to ready", "camera to action"))
    within = None
    if budget_ms is not None and whole is not None:
        within = whole["p99_9"] <= budget_ms
    ticks = len(series["tick late"])
    verdict = ticks >= TICKS_FOR_A_VERDICT or seconds >= SECONDS_FOR_A_VERDICT
    proposed = None if ready is None else proposed_latency_ms(ready["p99_9"])
    planned = None if ready is None else _schedule(session, statistics, ready)
    return {
        "kind": KIND,
        "bundle": str(session.bundle.path),
        "bundle_sha256": session.bundle.sha256,
        "engine": session.choice.engine,
        "precision": session.choice.precision,
        "rig": str(rig),
        "control_hz": spec.control_hz,
        "latency_ms": session.rig.timing.latency_ms,
        "duration_s": round(seconds, 3),
        "ticks": ticks,
        "verdict": verdict,
        "budget_ms": budget_ms,
        "within_budget": within,
        "stages": statistics,
        "cold_start": cold_start,
        "proposed_latency_ms": proposed,
        "schedule": planned,
        "counts": {
            "skipped ticks": loop.report.skipped_ticks,
            "sent out of their slot": out_of_slot,
            "not sent, as too late": loop.report.late_sends,
            "misses": counters.misses,
            "held": counters.held,
            "plans": counters.plans,
            "dropped plans": counters.dropped,
            "readings not believed": counters.bridged,
            "stale frames": observer.counters.stale,
            "skewed frames": observer.counters.skewed,
            "frozen frames": observer.counters.frozen,
            "frames without a state": observer.counters.stateless,
            "looks without a frame": observer.counters.absent,
        },
        "cameras": {name: dict(remarks.counts) for name, remarks in observer.remarks.items()},
        "stopped_because": loop.report.stopped_because,
        "realtime": realtime,
        "fingerprint": fingerprint(session.choice.threads),
        "notes": _notes(verdict, ticks, seconds, proposed, session, whole is None)
        + ([] if planned is None else schedule_notes(planned)),
        "report": str(report),
    }


def _notes(
    verdict: bool, ticks: int, seconds: float, proposed: float | None, session: Session,
    nothing: bool,
) -> list[str]:  # fmt: skip
    spec, timing = session.bundle.spec, session.rig.timing
    notes = []
    if not verdict:
        notes.append(
            f"Not a verdict: {ticks} ticks in {seconds:.0f} s. A tail takes {TICKS_FOR_A_VERDICT} "
            f"ticks or {SECONDS_FOR_A_VERDICT:g} s: give --duration "
            f"{min(SECONDS_FOR_A_VERDICT, TICKS_FOR_A_VERDICT / spec.control_hz + 2):.0f}."
        )
    if nothing:
        notes.append("No action was sent from a plan: there is no camera-to-action latency.")
    if proposed is None:
        return notes
    if proposed > timing.latency_ms:
        notes.append(
            f"latency_ms = {timing.latency_ms:g} in the rig is less than the proposed "
            f"{proposed:g}: plans come late, and the old ones go on."
        )
    return notes


def _schedule(
    session: Session, statistics: dict[str, dict[str, Any]], ready: dict[str, Any]
) -> dict[str, Any]:
    """The planner is busy from the look at an observation until its plan is ready."""
    spec, timing, told = session.bundle.spec, session.rig.timing, session.bundle.manifest.committed
    links = [row for name in BUSY if (row := statistics.get(name)) is not None]
    looks = spec.n_action_steps - 1 if spec.n_obs_steps > 1 else 0
    look = sum(statistics[x]["mean"] for x in BUSY[:2] if x in statistics)
    proposed = proposed_latency_ms(ready["p99_9"])
    times = Times(
        proposed,
        proposed + timing.cold_ms - timing.latency_ms,
        timing.actuation_delay_ms,
        proposed_latency_ms(max(0.0, ready["max"] - proposed)),
        sum(row["p99_9"] for row in links),
        sum(row["mean"] for row in links) + looks * look,
    )
    return schedule(spec, None if told is None else told.steps, times)
