"""The processors that are emulated, and the instructions that tell which kernels ran on them.

XNNPACK and ONNX Runtime choose kernels by CPUID, by AT_HWCAP, and by /proc/cpuinfo: QEMU gives the
first two, `cpuinfo` here the third.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ENGINES = {
    "onnxruntime": "onnxruntime_pybind11_state",
    "executorch": "libexecutorch_backend_xnnpack",
}
"""The library of each engine whose kernels are looked at, by a part of its file's name."""

_PART = {"a53": (0xD03, 0, 4), "a72": (0xD08, 0, 3), "a76": (0xD0B, 4, 1), "max": (0x51, 0, 0)}
_V80 = "fp asimd evtstrm crc32 cpuid"
_V82 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
_MAX = (
    f"{_V82} jscvt fcma sha3 sm3 sm4 sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg "
    "dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm "
    "svebf16 i8mm bf16 bti"
)


# Without SME: QEMU 7.2 gets it wrong, so XNNPACK's int8 answers are refused there when a bundle is
# loaded; under QEMU 10 they are right.
@dataclass(frozen=True)
class Cpu:
    """qemu: for -cpu. boards: where such cores are found. features: of /proc/cpuinfo.

    must, never: by engine, instructions of INSTRUCTIONS that its kernels consist of here, and those
    that this processor does not have, or that ONNX Runtime is wrong with.
    """

    name: str
    machine: str
    qemu: str
    boards: str
    features: str
    must: dict[str, tuple[str, ...]]
    never: dict[str, tuple[str, ...]]
    in_ci: bool


def _both(*names: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(ENGINES, names)


_SSE = "fpu sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt"
CPUS = (
    Cpu(
        "Nehalem", "x86_64", "Nehalem", "x86 without AVX", _SSE,
        _both("pmaddwd", "mulps"),
        _both("vpmaddwd", "vfmadd", "vpmaddubsw"), True,
    ),
    Cpu(
        "Haswell", "x86_64", "Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm",
        "most Intel desktops; AMD before Zen 4",
        f"{_SSE} fma avx f16c bmi1 avx2 bmi2",
        _both("vpmaddwd", "vfmadd"),
        {"onnxruntime": ("vpmaddubsw",)}, True,
    ),
    Cpu(
        "Cortex-A53", "aarch64", "cortex-a53", "Raspberry Pi 3, small cores of an RK3588's kind",
        _V80, _both("smlal", "fmla"),
        _both("dot", "mmla", "sve"), False,
    ),
    Cpu(
        "Cortex-A72", "aarch64", "cortex-a72", "Raspberry Pi 4",
        _V80, _both("smlal", "fmla"),
        _both("dot", "mmla", "sve"), True,
    ),
    Cpu(
        "Cortex-A76", "aarch64", "cortex-a76", "Raspberry Pi 5, RK3588; Orin's cores are alike",
        _V82, _both("dot", "fmla"),
        _both("mmla", "sve"), False,
    ),
    Cpu(
        "max", "aarch64", "max,pauth-impdef=on,sme=off", "i8mm and SVE: ARMv8.6 and newer",
        _MAX, {"onnxruntime": ("dot", "fmla"), "executorch": ("mmla", "fmla")}, {}, True,
    ),
)  # fmt: skip

# QEMU prints each block of instructions once, before it first runs: its address, the opcode (on
# ARM), the mnemonic. Newer opcodes are matched by their bits: the disassembler may not know them.
_ARM = {
    "mmla": r"(?:4e|6e)[89][0-9a-f]a[4-7f][0-9a-f]{2}|4e[89][0-9a-f]a[c-f][0-9a-f]{2}",
    "dot": r"[46]e[89][0-9a-f]9[4-7][0-9a-f]{2}|[46]f[89ab][0-9a-f]e[0-38-b][0-9a-f]{2}",
    "sve": r"(?:04|05|24|25|44|45|64|65|84|85|a4|a5|c4|c5|e4|e5)[0-9a-f]{6}",
}
INSTRUCTIONS = {
    "x86_64": re.compile(
        r"^(0x[0-9a-f]+):.*?\b(?P<name>v?pmaddubsw|v?pmaddwd|vpdpbusd|vfmadd|mulps)", re.M
    ),
    "aarch64": re.compile(
        r"^(0x[0-9a-f]+):  (?:"
        + "|".join(f"(?P<{name}>{bits})" for name, bits in _ARM.items())
        + r"|[0-9a-f]{8}  (?P<name>smlal|fmla))\b",
        re.M,
    ),
}


def cpuinfo(cpu: Cpu, cores: int = 4) -> str:
    """What /proc/cpuinfo says on such a machine."""
    if cpu.machine == "x86_64":
        lines = [("vendor_id", "GenuineIntel"), ("model name", cpu.name), ("flags", cpu.features)]
    else:
        part, variant, revision = _PART[cpu.qemu.partition(",")[0].removeprefix("cortex-")]
        lines = [
            ("BogoMIPS", "108.00"), ("Features", cpu.features),
            ("CPU implementer", "0x00" if part == 0x51 else "0x41"), ("CPU architecture", "8"),
            ("CPU variant", hex(variant)), ("CPU part", f"0x{part:03x}"),
            ("CPU revision", str(revision)),
        ]  # fmt: skip
    return (
        "\n\n".join(
            "\n".join(f"{key}\t: {value}" for key, value in [("processor", str(i)), *lines])
            for i in range(cores)
        )
        + "\n\n"
    )
