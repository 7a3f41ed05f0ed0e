"""Each board and Python that a document or a script names gets every robot's extra, from the index.

Slow, and needs the package index; ofp-edge's own wheel is really built, the ExecuTorch engine's is
a stand-in (scripts/test-aarch64 cross-builds and runs it).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ofp_edge.boards.orin import orin_systems
from ofp_edge.targets.own_wheels import bring_own
from ofp_edge.targets.systems import system
from ofp_edge.targets.wheels import collect_wheels
from tests.needs import absent
from tests.packaging.offline import DOCUMENTS, write_wheel

pytestmark = pytest.mark.slow

CPU = ("onnxruntime", "executorch", "realsense", "v4l2", "so101", "calibrate")
ORIN = ("jetson", "realsense", "v4l2", "so101", "calibrate")
NAMED = re.compile(r"ofp-edge wheels --board ([\w.-]+) --python ([\d.]+)")
EMULATED = [("raspberry-pi-5", x) for x in ("3.10", "3.11", "3.13")]  # scripts/test-aarch64


def named() -> list[tuple[str, str]]:
    found = {x for path in DOCUMENTS for x in NAMED.findall(path.read_text(encoding="utf-8"))}
    orins = {(board, x.python) for board, _ in found if "orin" in board for x in orin_systems()}
    return sorted({*found, *EMULATED, *orins})


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where the index can't be reached."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest",
         str(tmp_path_factory.mktemp("reached")), "tomlkit"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    if done.returncode:
        absent(f"the package index can't be reached: {done.stderr.strip().splitlines()[-1:]}")


def test_the_documents_name_boards_of_both_kinds() -> None:
    assert {"raspberry-pi-5", "orin-nano-super"} <= {board for board, _ in named()}


@pytest.mark.parametrize(("board", "python"), named())
def test_a_named_board_gets_every_extra(
    board: str, python: str, index: None, tmp_path: Path
) -> None:
    chosen = system(board, python)
    extras = ORIN if "jetson" in chosen.extras else CPU
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    out.mkdir()
    write_wheel(
        given, "ofp-edge-executorch", "1.5.1.1", requires=["numpy>=1.24"],
        tag="py3-none-manylinux_2_28_aarch64",
    )  # fmt: skip
    said: list[str] = []
    bring_own(out, chosen, [given], said.append, executorch="executorch" in extras)
    found = collect_wheels(out, chosen, [f"ofp-edge[{','.join(extras)}]"], [given], said.append)
    assert {"ofp-edge", "numpy", "feetech-servo-sdk", "opencv-python-headless"} <= set(found)
    assert ("cuda-python" in found) == (extras == ORIN)
    assert not [x for x in found if x.startswith(("torch", "nvidia", "tensorrt", "pycuda"))]
    assert any("feetech-servo-sdk" in x and "building one" in x for x in said)
