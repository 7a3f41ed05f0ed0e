"""Target host: the machine that compiles; the default engine and precision are measured on it."""

from __future__ import annotations

from ofp_edge.int8_kernels import unsigned_here
from ofp_edge.targets.target import Target

TARGET = Target(
    name="host",
    summary="this machine's CPU; the default is what measures fastest here",
    float_precisions=("fp32",),
    plan_precisions=("int8",),
    unfit={
        "fp16": "the CPU engines cast to fp32 around every operation: no gain over fp32, and "
        "less exact.",
    },
    picks_fastest=True,
    unsigned_integers=unsigned_here(),
)
