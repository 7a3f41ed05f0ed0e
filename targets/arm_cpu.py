"""Target arm-cpu: 64-bit ARM boards, ONNX Runtime or ExecuTorch with XNNPACK, no accelerator."""

from __future__ import annotations

from ofp_edge.targets.target import Target

TARGET = Target(
    name="arm-cpu",
    summary="64-bit ARM CPUs: Raspberry Pi 5, RK3588 and the like",
    float_precisions=("fp32",),
    plan_precisions=("int8",),
    unfit={
        "fp16": "ONNX Runtime's Python 3.10 wheels have no fp16 kernels for ARM CPUs and cast to "
        "fp32 around every operation: no gain. Take int8.",
    },
)
