"""ONNX Runtime's int8 kernels: where they are right, and what follows. The one place that knows.

A graph holds its rounding as quantise and dequantise pairs; ONNX Runtime fuses them with the layer
between into one integer kernel. On x86 its kernels take unsigned activations, and signed ones are
shifted first. Where the weights are signed, a CPU with AVX2 and no VNNI multiplies by `vpmaddubsw`,
which adds two products in 16 bits and saturates: two of 255 x 127 do not fit. The answers are then
wrong, far past the tolerance for the shipped policy. A CPU with VNNI adds in 32 bits and is right;
so is every ARM core; and so is any x86 where weights are unsigned too, as the kernel then widens to
16 bits before it multiplies. Hence:

- what is compiled for ONNX Runtime on x86 has unsigned activations *and* weights, the same steps
  shifted by 128 (`targets/unsigned.py`);
- a graph with signed integers (for ARM and TensorRT, or of an earlier ofp-edge) is opened on x86
  without fusing: the pairs round, floats multiply. That is exact, and here even faster than the
  wrong kernels. VNNI is not asked for: one way for every x86 is one that is tested everywhere.

ExecuTorch's XNNPACK widens before it multiplies, whatever the CPU.
"""

from __future__ import annotations

import platform
from typing import Any

from ofp_edge.errors import BundleError
from ofp_edge.onnx_file import INT8, tensor_types
from ofp_edge.processor import Processor

UNFUSED = "session.disable_quant_qdq"
"""ONNX Runtime's session option that leaves quantise and dequantise pairs alone."""


def unsigned_here() -> bool:
    """Return whether ONNX Runtime's integer kernels want unsigned weights on this machine."""
    return platform.machine() in ("x86_64", "AMD64")


def open_exactly(options: Any, model: bytes) -> None:
    """Set the `onnxruntime.SessionOptions` that `model` needs to be right on this CPU."""
    if unsigned_here() and _signed(model):
        options.add_session_config_entry(UNFUSED, "1")


def why_int8_differs(here: Processor, compiled_on: str | None) -> str:
    """Say what about this processor can make 8-bit answers differ, and what to do.

    compiled_on: the machine of the bundle's origin, where it is known.
    """
    said = f"8-bit kernels follow the processor, {here.kind}"
    if here.x86 and not here.vnni:
        said += ": without VNNI some add products in 16 bits, which saturate"
    if compiled_on is not None and compiled_on != here.machine:
        said += f"; the bundle was compiled on {compiled_on}"
    return f"{said}. Compile the policy again here with this ofp-edge, or take --precision fp32."


def _signed(model: bytes) -> bool:
    try:
        return INT8 in tensor_types(model)
    except BundleError:
        return True  # no ONNX: the engine says so when it opens it
