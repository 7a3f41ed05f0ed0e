"""Commands on a disk that is full or can't be written: one line, and nothing is left behind."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from ofp_edge.cli.main import build_app  # noqa: E402
from tests.cli.test_replay import RIG, SPEC  # noqa: E402
from tests.disks import small_disk  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402

TESTS = Path(__file__).resolve().parents[1]
COMMANDS = {
    "collect": "collect planar/obstacle -n 2 --obs state -o OUT",
    "convert": f"data convert {TESTS}/fixtures/datasets/diffusion-policy.zarr -o OUT",
    "import": f"import --lerobot {TESTS}/imports/fixtures/lerobot_state --control-hz 10 -o OUT",
    "train": "train DATA -o OUT --preset tiny --steps 4 --checkpoint-every 2",
    "board": "calibrate board -o OUT",
    "service": "service BUNDLE --rig RIG -o OUT.service",
    "info": f"data info {TESTS}/fixtures/datasets/diffusion-policy.zarr --write-mapping OUT.toml",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_small_bundle(folder / "bundle", SPEC, {})
    (folder / "rig.toml").write_text(RIG)
    words = ["collect", "planar/obstacle", "-n", "2", "--obs", "state", "-o", f"{folder}/data.zarr"]
    assert CliRunner().invoke(build_app(), words).exit_code == 0
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for one more page of 4 kB, and an inode or two."""
    with small_disk(tmp_path / "disk", taken_bytes=61_440) as folder:
        yield folder


def error_of(made: Path, command: str, out: Path) -> str:
    named = {
        "OUT": out,
        "OUT.toml": out.with_suffix(".toml"),
        "OUT.service": out.with_suffix(".service"),
        "DATA": made / "data.zarr",
        "BUNDLE": made / "bundle",
        "RIG": made / "rig.toml",
    }
    words = [str(named.get(word, word)) for word in command.split()]
    result = CliRunner().invoke(build_app(), [*words, "--json"])
    assert result.exit_code == 1, (result.output, result.exception)
    line = str(json.loads(result.stdout)["error"])
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_leaves_no_trace(made: Path, disk: Path, name: str) -> None:
    if name in ("service", "info"):  # less than a page
        (disk / "others").write_bytes(bytes(65_536))
    assert re.search("the disk is (too )?full", error_of(made, COMMANDS[name], disk / "out"))
    assert [path.name for path in disk.iterdir()] == ["others"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_read_only_disk_is_one_line(made: Path, disk: Path, name: str) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert "no permission to write" in error_of(made, COMMANDS[name], disk / "out")
