"""Which Orin a policy fits, and how fast it can be there at best: said before anything is built.

Floors and estimates from sizes and data sheets; nothing here was measured on a board.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ofp_edge.boards.orin import WEIGHT_BYTES, OrinBoard, floor, room
from ofp_edge.errors import CheckFailed
from ofp_edge.functions import ACT
from ofp_edge.policy.deployed import Deployed
from ofp_edge.runtime.runners.tensorrt.build import LARGE_BYTES
from ofp_edge.runtime.runners.tensorrt.engine import build_bytes
from ofp_edge.targets.cost import costs, largest_activation

_ALIVE = 3  # of the largest activations at a time
_MIB = 1 << 20


@dataclass(frozen=True)
class Need:
    """What a policy asks of a board in one precision, bytes, without the system. run: weights, what
    stays between functions, activations. build: TensorRT's builder with the functions before. costs
    as `floor` takes them. large: whether its weights are more than small policies have."""

    precision: str
    run_bytes: int
    build_bytes: int
    costs: dict[str, dict[str, int]]
    nfe: int
    large: bool


def need_of(deployed: Deployed, precision: str, nfe: int) -> Need:
    """Add up what the deployed functions take."""
    each, found = WEIGHT_BYTES[precision], costs(deployed)
    weights = {name: each * x["parameters"] for name, x in found.items()}
    kept = sum(4 * x.size for f in deployed.functions for x in f.outputs if x.resident)
    wide = max(2, each)  # int8 layers give half or float
    active = max(
        wide * largest_activation(deployed.modules[f.name], f.inputs) for f in deployed.functions
    )
    run = sum(weights.values()) + kept + _ALIVE * active
    built, before = 0, 0
    for function in deployed.functions:
        built = max(built, before + build_bytes(weights[function.name]))
        before += weights[function.name]
    large = max(weights.values()) > LARGE_BYTES
    return Need(precision, run, max(built, run), found, nfe, large)


def fit(board: OrinBoard, need: Need) -> dict[str, Any]:
    """Return plain JSON for one board: {"board", "available_bytes", "run_bytes", "build_bytes",
    "fits", "chunk_ms", "functions_ms"}."""
    least, room_bytes = floor(board, need.costs, need.precision, need.nfe), room(board)
    return {
        "board": board.name,
        "precision": need.precision,
        "available_bytes": room_bytes,
        "run_bytes": need.run_bytes,
        "build_bytes": need.build_bytes,
        "fits": need.build_bytes <= room_bytes,
        "chunk_ms": least["chunk_ms"],
        "functions_ms": least["functions_ms"],
        "evaluations": need.nfe,
    }


def fit_lines(fits: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line a board, for people."""
    lines = []
    for x in fits:
        times = {ACT: f"{x['evaluations']} x "}
        each = [f"{times.get(name, '')}{name} {_ms(ms)}" for name, ms in x["functions_ms"].items()]
        lines.append(
            f"{x['board']}, {x['precision']}: at least {_ms(x['chunk_ms'])} ms a chunk "
            f"({', '.join(each)}); memory {-(-x['run_bytes'] // _MIB)} MiB to run, "
            f"{-(-x['build_bytes'] // _MIB)} to be built, {x['available_bytes'] // _MIB} are there"
            f"{'' if x['fits'] else ': too small'}"
        )
    return lines


def _ms(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def require_board(board: OrinBoard, need: Need, boards: Sequence[OrinBoard]) -> None:
    """Raise CheckFailed, with the boards that would do, for one that is too small."""
    if need.build_bytes <= room(board):
        return
    larger = [x.name for x in boards if need.build_bytes <= room(x)]
    todo = f"It fits {', '.join(larger)}." if larger else "No Orin is large enough."
    runs = "" if need.run_bytes > room(board) else " It would run there, but is built there too."
    raise CheckFailed(
        f"too large for {board.name}: {need.precision} needs about {need.run_bytes // _MIB} MiB "
        f"to run and {need.build_bytes // _MIB} MiB to be built, the board has "
        f"{room(board) // _MIB} MiB beside its system.{runs} {todo}"
    )
