"""The processor's kind, and what follows from it for INT8 on each engine
(ofp_edge/int8_kernels.py)."""

from __future__ import annotations

from pathlib import Path

from ofp_edge.doctor.findings import Finding
from ofp_edge.processor import Processor, processor


def check(root: Path = Path("/")) -> list[Finding]:
    """Return the kind, and one finding for each engine. INT8 is right on every kind; its speed
    differs."""
    return findings(processor(root))


def findings(cpu: Processor) -> list[Finding]:
    """Return what is said about one kind of processor."""
    return [
        Finding("cpu kind", "ok", cpu.kind),
        Finding("int8 onnxruntime", "ok", _onnxruntime(cpu)),
        Finding("int8 executorch", "ok", _executorch(cpu)),
    ]


def _onnxruntime(cpu: Processor) -> str:
    if not cpu.x86:
        return f"integer kernels, {_arm(cpu)}"
    how = "by VNNI" if cpu.vnni else "widened to 16 bits: about fp32's speed"
    return f"bundles for host: integers, {how}; for arm-cpu and jetson-orin: exact, in floats"


def _executorch(cpu: Processor) -> str:
    if not cpu.x86:
        return f"XNNPACK, {_arm(cpu)}"
    by = "AVX-512 or AVX VNNI" if cpu.vnni else "AVX2" if "avx2" in cpu.features else "SSE"
    return f"XNNPACK, {by}, any bundle; as a rule the fastest here"


def _arm(cpu: Processor) -> str:
    if "i8mm" in cpu.features:
        return "8-bit matrix products (i8mm)"
    if "asimddp" in cpu.features:
        return "8-bit dot products (dotprod)"
    return "widened to 16 bits (no dotprod): less gain over fp32"
