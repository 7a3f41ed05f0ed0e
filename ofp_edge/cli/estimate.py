"""What `compile` estimated for a board and what XNNPACK left out, as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ofp_edge.counted import counted

_MIB = 2**20


def delegated_in(share: float | None, count: int) -> str:
    """Say how much of a program is delegated, in a table: "100%", or "98% in 3" of several pieces;
    nothing where nobody knows."""
    if share is None:
        return ""
    return f"{share:.0%}" if count == 1 else f"{share:.0%} in {count}"


def delegation_warnings(artefacts: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line a program of which XNNPACK does not take all, naming the operations."""
    return [
        f"warning: {x['file']}: XNNPACK does not take {', '.join(x['left_out'])}: the rest is in "
        f"{counted(x['delegates'], 'piece')} (compile --strict refuses that)"
        for x in artefacts
        if x["left_out"]
    ]


def estimate_lines(found: Mapping[str, Any] | None) -> list[str]:
    """The roofline's floor in each precision and the memory of each engine; none without a board.

    found: `estimate` of a bundle's provenance.
    """
    if found is None:
        return []
    lines = []
    for precision, item in found["floors"].items():
        floor, top = item["floor_ms"], item["layers"][:1]
        longest = f"; longest {top[0]['name']}, {top[0]['bound_by']}" if top else ""
        lines.append(
            f"estimate for {found['board']}, {precision}: a chunk takes at least "
            f"{floor['chunk']:.3f} ms on {found['threads']} threads (encode {floor['encode']:.3f}, "
            f"act {floor['act']:.3f}{longest}); roofline, not measured"
        )
    memory = found["memory"]
    needs = ", ".join(
        f"{name} {value / _MIB:.0f} MiB" for name, value in memory["needed_bytes"].items()
    )
    lines.append(
        f"estimate for {found['board']}: memory of the loop's process {needs}; "
        f"{memory['available_bytes'] / _MIB:.0f} MiB are there"
    )
    return lines
