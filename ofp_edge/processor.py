"""The kind of processor this is, as far as 8-bit integers go, from what the kernel reports."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

# By the kernel's name for it (`flags` or `Features` in /proc/cpuinfo), best first.
_X86 = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "avx2": "AVX2"}
_ARM = {"sve": "SVE", "i8mm": "i8mm", "asimddp": "dotprod"}
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})


@dataclass(frozen=True)
class Processor:
    """A processor. machine: "x86_64", "aarch64". features: the kernel's names, of all cores."""

    machine: str
    features: frozenset[str]

    @property
    def x86(self) -> bool:
        """Return whether it is a 64-bit x86."""
        return self.machine in ("x86_64", "AMD64")

    @property
    def vnni(self) -> bool:
        """Return whether it multiplies 8-bit integers and adds them in 32 bits."""
        return self.x86 and bool(self.features & _VNNI)

    @property
    def kind(self) -> str:
        """Name the features that select 8-bit kernels, present and missing: "AVX2, no VNNI"."""
        known = _X86 if self.x86 else _ARM
        have = [name for flag, name in known.items() if flag in self.features]
        lacks = "VNNI" if self.x86 else "dotprod"
        if not any(lacks in name for name in have):
            have.append(f"no {lacks}")
        return f"{self.machine}: {', '.join(have)}"


def processor(root: Path = Path("/")) -> Processor:
    """Return this machine's processor. root: where proc/cpuinfo lies; no features if unreadable."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        text = ""
    cores = [
        set(value.split())
        for key, _, value in (line.partition(":") for line in text.splitlines())
        if key.strip() in ("flags", "Features")
    ]
    common = set.intersection(*cores) if cores else set()  # big and little cores may differ
    return Processor(platform.machine(), frozenset(common))
