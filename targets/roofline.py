"""Compute a latency floor for a board: no call is faster than its operations at the silicon's peak,
or than reading the weights that its caches can't hold. An estimate: nothing was measured there.

The roofline of Williams, Waterman and Patterson (2009), layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofp_edge.boards.cpu import Board
from ofp_edge.functions import ACT
from ofp_edge.targets.layer_costs import Layer

_SHOWN = 5  # layers, the longest first


def floor(board: Board, functions: Mapping[str, Sequence[Layer]], nfe: int) -> dict[str, Any]:
    """Estimate a chunk's least time (a frame encoded, `act` nfe times) on the board's threads.

    functions: the layers of `encode` and `act`. Returns plain JSON: {"floor_ms": by function and
    for the "chunk", "compute_ms", "memory_ms": what it is made of, "streamed_bytes", "layers":
    the longest, each with what bounds it}.
    """
    share = board.threads / board.cores
    peaks = {"fp32": board.fp32_gflops * 1e9 * share, "int8": board.int8_gops * 1e9 * share}
    weights = sum(x.weight_bytes for layers in functions.values() for x in layers)
    # Weights that fit into the caches may stay there from call to call: a floor counts the rest.
    streamed = max(0.0, 1 - board.cache_bytes / weights) if weights else 0.0
    totals, compute, memory, rows = {}, 0.0, 0.0, []
    for function, layers in functions.items():
        calls = nfe if function == ACT else 1
        totals[function] = 0.0
        for x in layers:
            computing = x.flops / peaks[x.precision]
            reading = streamed * x.weight_bytes / (board.bandwidth_gb_s * 1e9)
            seconds = max(computing, reading)
            totals[function] += seconds
            compute += calls * computing
            memory += calls * reading
            rows.append((calls * seconds, function, x, reading > computing))
    rows.sort(key=lambda row: -row[0])
    chunk = sum((nfe if name == ACT else 1) * value for name, value in totals.items())
    return {
        "floor_ms": {
            **{name: 1e3 * value for name, value in totals.items()},
            "chunk": 1e3 * chunk,
        },
        "compute_ms": 1e3 * compute,
        "memory_ms": 1e3 * memory,
        "streamed_bytes": round(streamed * weights),
        "layers": [
            {
                "function": function,
                "name": x.name,
                "operation": x.operation,
                "precision": x.precision,
                "floor_ms": 1e3 * seconds,
                "flops": x.flops,
                "weight_bytes": x.weight_bytes,
                "bound_by": "memory" if by_memory else "compute",
            }
            for seconds, function, x, by_memory in rows[:_SHOWN]
        ],
    }
