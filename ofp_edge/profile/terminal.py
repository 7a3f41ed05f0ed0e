"""The report in a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from ofp_edge.counted import counted
from ofp_edge.profile.schedule import schedule_lines

_COLUMNS = ("p50", "p90", "p95", "p99", "p99_9", "max", "jitter")


def show(console: Console, values: dict[str, Any]) -> None:
    """Print the stage table and what follows from it."""
    machine = values["fingerprint"]
    where = f"{machine['cpu']}, {counted(machine['threads'], 'engine thread')}"
    title = f"{values['bundle']}: {values['engine']}, {values['precision']} on {where}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("ms")
    for name in _COLUMNS:
        table.add_column(name.replace("_", "."), justify="right")
    rows = {
        **values["stages"],
        "capture to ready": values["capture_to_ready_ms"],
        "bare engine": values["engine_ms"],
    }
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:.3f}" for column in _COLUMNS))
    console.print(table)
    parts = values["parts"]
    of = {name: f"{parts[name]['p50']:.3f}" for name in ("encode", "step", "host")}
    console.print(
        f"a plan, p50: encode {of['encode']} ms, {parts['steps']} x act {of['step']} ms, host "
        f"{of['host']} ms"
    )
    percent = values["overhead_percent"]
    share = "" if percent is None else f" ({percent:.1f} % of act)"
    console.print(
        f"overhead of infer around act: {values['overhead_us_p50']:.1f} µs p50, "
        f"{values['overhead_us_p99']:.1f} µs p99{share}"
    )
    proposed = values["proposed_latency_ms"]
    said = "void" if proposed is None else f"{proposed:g} ms"
    console.print(
        f"proposed L: {said} (p99.9 of capture to ready, rounded up to a millisecond); "
        f"{values['samples']} samples, jitter = p99.9 - p50"
    )
    if (cold := values["proposed_cold_latency_ms"]) is not None:
        console.print(f"proposed cold_latency_ms, of an episode's first plan: {cold:g} ms")
    for line in [] if values["schedule"] is None else schedule_lines(values["schedule"]):
        console.print(line)
    if (jetson := values["fingerprint"]["jetson"]) is not None:
        gpu = jetson["gpu_hz"]
        clock = "unknown" if gpu is None else f"{gpu['min'] / 1e6:.0f}-{gpu['max'] / 1e6:.0f} MHz"
        console.print(
            f"{jetson['module']}, JetPack {jetson['jetpack']}, power mode {jetson['power_mode']}, "
            f"GPU {clock}"
        )
        if "floor" in jetson:
            least = jetson["floor"]["chunk_ms"]
            console.print(f"floor of a chunk by dense peaks, an estimate: {least:.3f} ms")
    for note in values["notes"]:
        console.print(f"[yellow]note:[/] {note}")
    console.print(f"report: {values['report']}", soft_wrap=True)
