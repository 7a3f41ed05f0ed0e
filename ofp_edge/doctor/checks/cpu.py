"""The processor: the cores that this process may use, and a governor that keeps their clocks up."""

from __future__ import annotations

import os
from pathlib import Path

from ofp_edge.doctor.findings import Finding

_GOVERNOR = "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
_REMEDY = (
    "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
)  # fmt: skip


def check(root: Path = Path("/")) -> list[Finding]:
    """Check cores and governors."""
    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    cores = Finding("cpu cores", "ok", f"{usable} of {all_cores} usable by this process")
    if usable < 2:
        cores = Finding(
            "cpu cores", "warn", cores.detail, "Give the loop and the engine a core each."
        )
    return [cores, governor(root)]


def governor(root: Path) -> Finding:
    """Check the governor: any but "performance" lets clocks sink between two inferences."""
    names = {path.read_text().strip() for path in root.glob(_GOVERNOR)}
    if not names:
        return Finding("cpu governor", "ok", "no frequency control to be seen (a virtual machine?)")
    if names == {"performance"}:
        return Finding("cpu governor", "ok", "performance")
    detail = f"{', '.join(sorted(names))}: latency varies with the load"
    return Finding("cpu governor", "warn", detail, _REMEDY)
