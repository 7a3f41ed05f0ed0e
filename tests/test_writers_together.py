"""Several writers at once, and what killed ones left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ofp_edge.files import new_file, new_folder, write_bytes
from tests.crashing import MARKER, NEW, contents
from tests.test_output_places import fill, names

ROOT = Path(__file__).resolve().parents[1]

WRITER = """
import sys
from pathlib import Path
from ofp_edge.errors import OutputExists
from ofp_edge.files import new_folder, write_bytes
from tests.crashing import MARKER, NEW
folder, kind = Path(sys.argv[1]), sys.argv[2]
refused = 0
for number in range(25):
    if kind == "file":
        write_bytes(folder / "out", NEW.encode())
        continue
    try:
        name = f"out{number}" if kind == "once" else "out"
        with new_folder(folder / name, force=kind == "force", marker=MARKER) as partial:
            (partial / MARKER).write_text(NEW)
    except OutputExists:
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("kind", ["force", "once", "file"])
def test_four_writers_of_one_output_get_along(memory: Path, kind: str) -> None:
    folder = memory / kind
    folder.mkdir()
    words = [sys.executable, "-c", WRITER, str(folder), kind]
    writers = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)]
    refused = [int(writer.communicate()[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    assert sum(refused) == (3 * 25 if kind == "once" else 0)
    assert len(names(folder)) == (25 if kind == "once" else 1)
    for path in folder.iterdir():
        assert contents(path) in (NEW, {MARKER: NEW})


def test_what_other_outputs_are_writing_is_not_cleared_up(tmp_path: Path) -> None:
    with new_folder(tmp_path / "policy.unfinished", force=False, marker=MARKER) as partial:
        (tmp_path / ".policy.unfinished.0123abcd.partial").mkdir()
        fill(tmp_path / "policy")
        assert partial.is_dir()
        assert (tmp_path / ".policy.unfinished.0123abcd.partial").is_dir()
        (partial / MARKER).write_text(NEW)


def test_leftovers_of_files_are_cleared_by_the_next_writer(tmp_path: Path) -> None:
    for name in (".out.0123abcd.partial", ".out.89abcdef.partial.mp4", ".out.lock"):
        (tmp_path / name).write_text("half")
    with new_file(tmp_path / "out", suffix=".mp4") as first:
        write_bytes(tmp_path / "out", b"second")
        assert first.exists() and first.suffix == ".mp4"
        first.write_text("first")
    assert names(tmp_path) == ["out"] and contents(tmp_path / "out") == "first"
