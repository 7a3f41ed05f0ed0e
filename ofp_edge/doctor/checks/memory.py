"""The memory that is free for a policy, an engine and their buffers."""

from __future__ import annotations

from pathlib import Path

from ofp_edge.doctor.findings import Finding
from ofp_edge.runtime.jetson.machine import Machine

_COMFORTABLE_MIB = 1024  # training and export need this much; a robot's loop needs about 200


def check(root: Path = Path("/")) -> Finding:
    """Check MemAvailable in /proc/meminfo (kB)."""
    values = Machine(root).memory_kib()
    available, total = values["MemAvailable"] // 1024, values["MemTotal"] // 1024
    detail = f"{available} of {total} MiB available"
    if available < _COMFORTABLE_MIB:
        remedy = f"Close other programs: below {_COMFORTABLE_MIB} MiB training and export may fail."
        return Finding("memory", "warn", detail, remedy)
    return Finding("memory", "ok", detail)
