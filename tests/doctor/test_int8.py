"""Doctor names the processor's kind and what follows for INT8, by the kernel's own words."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from ofp_edge.doctor.checks import int8
from ofp_edge.processor import processor

HASWELL = "fpu sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c avx2"
CASES = [  # machine, line of /proc/cpuinfo, kind, onnxruntime says, executorch says
    ("x86_64", f"flags\t\t: {HASWELL}", "AVX2, no VNNI", "about fp32's speed", "AVX2"),
    ("x86_64", "flags : sse sse2 ssse3 sse4_2", "no VNNI", "about fp32's speed", "SSE"),
    ("x86_64", f"flags : {HASWELL} avx512f avx512_vnni", "AVX-512 VNNI, AVX2", "by VNNI", "VNNI"),
    ("x86_64", f"flags : {HASWELL} avx_vnni", "AVX-VNNI, AVX2", "by VNNI", "VNNI"),
    ("aarch64", "Features\t: fp asimd crc32", "no dotprod", "less gain", "less gain"),
    ("aarch64", "Features : fp asimd asimddp", "dotprod", "8-bit dot", "8-bit dot"),
    ("aarch64", "Features : asimd asimddp sve i8mm", "SVE, i8mm, dotprod", "i8mm", "i8mm"),
]


@pytest.mark.parametrize(("machine", "line", "kind", "onnxruntime", "executorch"), CASES)
def test_each_kind_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    machine: str, line: str, kind: str, onnxruntime: str, executorch: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor : 0\n{line}\n\nprocessor : 1\n{line}\n")
    told = {finding.name: finding for finding in int8.check(tmp_path)}
    assert told["cpu kind"].detail == f"{machine}: {kind}"
    assert onnxruntime in told["int8 onnxruntime"].detail
    assert executorch in told["int8 executorch"].detail
    assert {finding.status for finding in told.values()} == {"ok"}


def test_what_only_some_cores_can_do_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("Features : asimd asimddp\n\nFeatures : asimd\n")
    assert processor(tmp_path).kind == "aarch64: no dotprod"


def test_a_kernel_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    assert "no " in processor(tmp_path).kind
