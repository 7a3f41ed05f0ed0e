"""The machine and the versions with which a figure was measured."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from ofp_edge import __version__

_DISTRIBUTIONS = ("numpy", "onnxruntime", "ofp-edge-executorch", "torch", "pyrealsense2")


def fingerprint(threads: int) -> dict[str, Any]:
    """Return plain JSON: board, CPU, cores, governor, memory, kernel, Python, versions,
    threads."""
    return {
        "board": _first_line("/proc/device-tree/model"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_gib": _memory_gib(),
        "load_1min": round(os.getloadavg()[0], 2),
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "ofp_edge": __version__,
        "versions": {name: v for name in _DISTRIBUTIONS if (v := _version(name)) is not None},
        "threads": threads,
    }


def _first_line(path: str) -> str | None:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.replace("\0", "").strip().partition("\n")[0] or None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    if "model name" in facts:
        return facts["model name"]
    if "CPU part" in facts:  # ARM kernels give numbers
        return f"ARM implementer {facts.get('CPU implementer', '?')} part {facts['CPU part']}"
    return platform.processor() or "unknown"


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (OSError, ValueError):
        return None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
