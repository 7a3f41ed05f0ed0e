"""The ExecuTorch wheel: built by its one command, for every Python, with the licences it owes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("ofp_edge_executorch-*.whl"))


def test_one_wheel_serves_every_python_of_the_platform(wheel: Path) -> None:
    assert re.search(r"-py3-none-manylinux_2_28_(x86_64|aarch64)\.whl$", wheel.name)


def test_the_wheel_brings_its_libraries_and_every_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        libraries = [name for name in names if name.endswith(".so")]
        notices = archive.read(next(n for n in names if n.endswith("NOTICES"))).decode()
        own = archive.read("ofp_edge_executorch/libofp_edge_executorch.so")
    assert len(libraries) == 6
    for name in (
        "ExecuTorch", "PyTorch", "XNNPACK", "cpuinfo", "pthreadpool", "FP16", "FXdiv",
        "FlatBuffers", "KleidiAI", "Eigen",
    ):  # fmt: skip
        assert re.search(rf"(?m)^{name} \(", notices), name
    assert str(wheel.parents[1]).encode() not in own and sys.prefix.encode() not in own


def test_the_wheel_works_where_nothing_else_of_executorch_is(wheel: Path, tmp_path: Path) -> None:
    """Unpacked beside numpy alone, as on a robot; the program is refused, not the library."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import ofp_edge_executorch as engine
assert engine.__file__.startswith(sys.argv[1])
try:
    engine.Program(b"not a program")
except engine.ExecuTorchError as cause:
    assert cause.code == 0x23, cause
maps = open("/proc/self/maps").read()
assert "/executorch/" not in maps and "torch" not in sys.modules
print(engine.EXECUTORCH_VERSION)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "site"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "1.5.1"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CXX": "no-such-compiler"}, "no C++ compiler (no-such-compiler). Run: sudo apt-get"),
        ({"EXECUTORCH": "WRONG"}, "executorch: expected 1.5.1, got 1.3.1"),
    ],
)
def test_what_the_build_lacks_is_said(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/version.py").write_text('__version__ = "1.3.1"\n')
    environment = {k: v.replace("WRONG", str(tmp_path / "wrong")) for k, v in environment.items()}
    done = subprocess.run(
        [ROOT / "scripts/wheels", tmp_path / "out", "ofp-edge-executorch"],
        capture_output=True, text=True,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )  # fmt: skip
    assert done.returncode != 0
    assert said in done.stderr
    assert not list(tmp_path.glob("out/*.whl"))
