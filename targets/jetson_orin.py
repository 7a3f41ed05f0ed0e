"""Target jetson-orin: NVIDIA Jetson Orin, TensorRT 10.3 or 10.16, engines built on the device."""

from __future__ import annotations

from ofp_edge.targets.target import Target

TARGET = Target(
    name="jetson-orin",
    summary="NVIDIA Jetson Orin with JetPack 6.1-6.2 or 7.2; the engine is built on the device",
    float_precisions=("fp32", "fp16"),
    plan_precisions=("int8",),
    unfit={},
)
