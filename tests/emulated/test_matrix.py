"""The matrix of processors: what it looks for in instructions, and what the page says of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.needs import needs_engines

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts/emulated"


@pytest.fixture(scope="module", autouse=True)
def found() -> Iterator[None]:
    """The scripts import one another by their bare names."""
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


def load(name: str) -> ModuleType:
    return __import__(name)


@pytest.mark.parametrize(
    ("machine", "line", "name"),
    [
        ("x86_64", "0x400080:  c4 e2 7d 04 c1  vpmaddubsw %ymm1, %ymm0, %ymm0", "vpmaddubsw"),
        ("x86_64", "0x400080:  66 0f f5 c1  pmaddwd  %xmm1, %xmm0", "pmaddwd"),
        ("x86_64", "0x400080:  c4 e2 7d b8 c1           vfmadd231ps %ymm1, %ymm0, %ymm0", "vfmadd"),
        ("aarch64", "0x550081d3d8:  4e82a420  .byte    0x20, 0xa4, 0x82, 0x4e", "mmla"),
        ("aarch64", "0x550081d3d8:  6e82a420  ummla    v0.4s, v1.16b, v2.16b", "mmla"),
        ("aarch64", "0x550081d3d8:  4e829420  sdot     v0.4s, v1.16b, v2.16b", "dot"),
        ("aarch64", "0x550081d3d8:  4fa2e820  sdot     v0.4s, v1.16b, v2.4b[3]", "dot"),
        ("aarch64", "0x550081d3d8:  a540a000  ld1w     {z0.s}, p0/z, [x0]", "sve"),
        ("aarch64", "0x550081d3d8:  0e628020  smlal    v0.4s, v1.4h, v2.4h", "smlal"),
        ("aarch64", "0x550081d3d8:  4e22cc20  fmla     v0.4s, v1.4s, v2.4s", "fmla"),
    ],
)  # fmt: skip
def test_kernels_are_known_by_their_instructions(machine: str, line: str, name: str) -> None:
    matches = list(load("cpus").INSTRUCTIONS[machine].finditer(f"IN: \n{line}\n"))
    assert [m["name"] or m.lastgroup for m in matches] == [name]


@pytest.mark.parametrize(
    "line",
    [
        "0x550081d3d8:  cb000025  sub      x5, x1, x0",
        "0x550081d3d8:  d503201f  nop",
        "0x550081d3d8:  4e22d420  fadd     v0.4s, v1.4s, v2.4s",
        "0x550081d3d8:  4ea29c20  mul      v0.4s, v1.4s, v2.4s",
    ],
)
def test_other_instructions_are_none_of_them(line: str) -> None:
    assert not load("cpus").INSTRUCTIONS["aarch64"].search(f"\n{line}\n")


def test_the_kernel_s_words_fit_the_emulated_processor(tmp_path: Path) -> None:
    from ofp_edge.processor import processor

    cpus = load("cpus")
    (tmp_path / "proc").mkdir()
    for cpu in cpus.CPUS:
        (tmp_path / "proc/cpuinfo").write_text(cpus.cpuinfo(cpu))
        features = processor(tmp_path).features
        assert ("asimddp" in features) == (cpu.name in ("Cortex-A76", "max"))
        assert ("i8mm" in features) == (cpu.name == "max")
        assert ("avx2" in features) == (cpu.name == "Haswell")


def test_sums_that_do_not_fit_16_bits_are_right_on_this_machine(tmp_path: Path) -> None:
    needs_engines()
    saturating = load("saturating")
    saturating.make(tmp_path)
    rows = list(saturating.check(tmp_path))
    assert len(rows) == len(saturating.SHAPES) * len(saturating.SUFFIX)
    for row in rows:
        assert row["largest_difference"] < row["step"] / 2, row


def test_the_page_states_what_was_measured() -> None:
    table = load("table")
    assert table.written() == table.tables(), "run: python scripts/emulated/table.py --write"
