"""Estimate whether a bundle fits a board, and how fast it can be there at best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ofp_edge.boards.cpu import Board
from ofp_edge.errors import CheckFailed
from ofp_edge.functions import Function
from ofp_edge.manifest import Default
from ofp_edge.runtime.runners.requirements import COPIES
from ofp_edge.runtime.runners.table import ENGINES
from ofp_edge.targets.layer_costs import layers
from ofp_edge.targets.roofline import floor

_MIB = 2**20
_SYSTEM_BYTES = 512 * _MIB  # Linux, the camera driver, and what else a robot runs


def require_delegated(file: str, left_out: Sequence[str]) -> None:
    """Raise CheckFailed naming the operations of a program that XNNPACK does not take."""
    if left_out:
        raise CheckFailed(
            f"--strict: {file}: XNNPACK does not take {', '.join(left_out)}, which would run one "
            "by one: no bundle was written. Use operations that it takes."
        )


def estimate_for(
    board: Board,
    programs: Sequence[tuple[str, str, int]],
    references: Mapping[str, Mapping[str, Any]],
    functions: Sequence[Function],
    default: Default,
) -> dict[str, Any]:
    """Estimate what the board can be expected to do, as plain JSON for the manifest.

    programs: engine, precision and bytes of every program. references: torch modules by precision
    and function. Raises CheckFailed when the default does not fit into the board's memory.
    """
    sizes: dict[tuple[str, str], int] = {}
    for engine, precision, size in programs:
        sizes[engine, precision] = sizes.get((engine, precision), 0) + size
    held = memory(board, sizes, sum(size for *_, size in programs))
    require_memory(board, held, f"{default.engine} {default.precision}")
    return {
        "board": board.name,
        "estimated": True,
        "threads": board.threads,
        "memory": held,
        "floors": floors(board, references, functions, default.nfe),
    }


def memory(board: Board, sizes: Mapping[tuple[str, str], int], bundle_bytes: int) -> dict[str, Any]:
    """Return the memory a running loop needs, by "engine precision", and what the board can spare.

    sizes: bytes of both programs by (engine, precision). A tmpfs or a log may hold the bundle in
    memory too, so it counts. Plain JSON.
    """
    known = {name: x.process_bytes for name, x in ENGINES.items() if x.process_bytes is not None}
    needed = {
        f"{engine} {precision}": known.get(engine, max(known.values()))
        + COPIES * size
        + bundle_bytes
        for (engine, precision), size in sizes.items()
    }
    return {"needed_bytes": needed, "available_bytes": board.memory_bytes - _SYSTEM_BYTES}


def require_memory(board: Board, found: Mapping[str, Any], default: str) -> None:
    """Raise CheckFailed if the default engine and precision exceed the board's memory."""
    needed, available = found["needed_bytes"][default], found["available_bytes"]
    if needed > available:
        raise CheckFailed(
            f"too large for {board.name}: {default} needs about {needed / _MIB:.0f} MiB with its "
            f"process, the board has {available / _MIB:.0f} MiB beside its system. Take a smaller "
            "preset, int8, or a board with more memory."
        )


def floors(
    board: Board,
    references: Mapping[str, Mapping[str, Any]],
    functions: Sequence[Function],
    nfe: int,
) -> dict[str, Any]:
    """Return the roofline's floor by precision. references: modules by precision and function."""
    names: dict[str, list[str]] = {}
    found = {}
    for precision, modules in references.items():
        costs = {f.name: layers(modules[f.name], f.inputs) for f in functions}
        for function, items in costs.items():
            # Quantised weights have lost their names; the layers are the float network's, in order.
            known = names.setdefault(function, [x.name for x in items])
            if len(known) == len(items):
                costs[function] = [replace(x, name=n) for x, n in zip(items, known, strict=True)]
        found[precision] = floor(board, costs, nfe)
    return found
