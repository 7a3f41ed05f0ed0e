"""Two profiles beside each other: how much a percentile differs, and whether that is luck.

The interval of a difference is put together from the two intervals (MOVER: Zou and Donner,
"Construction of confidence intervals about effect measures", Statistics in Medicine 27, 2008):

    low = (b - a) - sqrt((b - b_low)^2 + (a_high - a)^2), high likewise
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ofp_edge.errors import OfpError
from ofp_edge.files import read_json

PERCENTILES = ("p50", "p99", "p99_9")
_MACHINE = ("board", "cpu", "cores", "governor", "kernel", "threads")


def read_profile(path: Path) -> dict[str, Any]:
    """Read a document of `profile --json` or `profile-loop --json`. Raises OfpError when it is
    another."""
    values = read_json(path)
    stages: Any = values.get("stages") if isinstance(values, dict) else None
    fits = isinstance(stages, dict) and all(
        isinstance(row, dict) and "intervals" in row and "p99_9" in row for row in stages.values()
    )
    if not fits or "fingerprint" not in values:
        raise OfpError(
            f"{path} is no profile. Make one with `ofp-edge profile … --json > {path}` "
            "or profile-loop."
        )
    found: dict[str, Any] = dict(values)
    if "capture_to_ready_ms" in values:  # `profile` keeps it apart
        found["stages"] = {**stages, "capture to ready": values["capture_to_ready_ms"]}
    return found


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each stage and percentile that both have: milliseconds, and b - a with
    its interval.

    `differs` says whether 0 lies outside the interval; it is None where too few samples give none.
    """
    rows = []
    for name in [stage for stage in a["stages"] if stage in b["stages"]]:
        for percentile in PERCENTILES:
            first, second = a["stages"][name], b["stages"][name]
            row = {
                "stage": name,
                "percentile": percentile,
                "a_ms": first[percentile],
                "b_ms": second[percentile],
                "difference_ms": second[percentile] - first[percentile],
                "interval_ms": None,
                "differs": None,
            }
            if percentile in first["intervals"] and percentile in second["intervals"]:
                low, high = between(
                    first[percentile],
                    first["intervals"][percentile],
                    second[percentile],
                    second["intervals"][percentile],
                )
                row["interval_ms"], row["differs"] = [low, high], not low <= 0 <= high
            rows.append(row)
    if not rows:
        raise OfpError("the two profiles have no stage in common.")
    return rows


def between(
    a: float, a_interval: tuple[float, float], b: float, b_interval: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval of b - a."""
    a_low, a_high = a_interval
    b_low, b_high = b_interval
    low = (b - a) - math.hypot(max(0.0, b - b_low), max(0.0, a_high - a))
    high = (b - a) + math.hypot(max(0.0, b_high - b), max(0.0, a - a_low))
    return low, high


def beware(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Say what makes the two hard to compare."""
    notes = []
    for key in _MACHINE:
        first, second = (x["fingerprint"].get(key) for x in (a, b))
        if first != second:
            notes.append(f"{key}: {first} against {second}")
    for key in ("engine", "precision", "bundle_sha256", "control_hz"):
        if a.get(key) != b.get(key):
            notes.append(f"{key}: {a.get(key)} against {b.get(key)}")
    if "verdict" in a and not (a["verdict"] and b.get("verdict")):
        notes.append("not a verdict: one of them is shorter than 10,000 ticks and 600 s")
    return notes
