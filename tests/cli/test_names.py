"""Names that look like markup or are no UTF-8, users without a name, terminals of ASCII."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ofp_edge.cli.output import Output
from ofp_edge.doctor.checks import realsense
from ofp_edge.doctor.probe import Probe
from ofp_edge.errors import CameraError
from ofp_edge.files import sha256_folder
from ofp_edge.report.html import page
from ofp_edge.runtime.cameras import sdk
from ofp_edge.runtime.kernel.realtime import limit_line


@pytest.mark.parametrize(
    "name", ["set [v2]", "a[/b]", "a[/]b", "x[magenta]y", "[@click=f()]", "a:fire:b", "e[1].zarr"]
)
def test_a_name_is_printed_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.console.print(f"{name}: written", soft_wrap=True)
    output.console.print(f"[yellow]note:[/] {name}", soft_wrap=True)
    assert capsys.readouterr().out.splitlines()[0] == f"{name}: written"


def test_a_note_stays_styled_beside_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).console.print("[yellow]note:[/] a[/b] [v2]", soft_wrap=True)
    assert capsys.readouterr().out == "note: a[/b] [v2]\n"


def test_a_file_name_that_is_no_utf_8_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    found = []
    for name in (b"note-\xff", b"note-\xfe", "note-é".encode()):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        (folder / os.fsdecode(name)).touch()
        found.append(sha256_folder(folder))
    assert len(set(found)) == 3
    assert "note-?" in page("note-\udcff", []) and page("é", []).encode()


def nameless() -> str:
    raise KeyError("getpwuid(): uid not found: 54321")


def test_a_user_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert limit_line("rtprio 80").startswith("echo ':54321 - rtprio 80'")


def homeless(cls: type[Path]) -> Path:
    raise RuntimeError("Could not determine home directory.")


class NoContext:
    """An SDK that finds no folder for its settings."""

    def context(self) -> None:
        raise RuntimeError("failed to get special folder 5")


def test_a_camera_without_a_home_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", classmethod(homeless))
    monkeypatch.setattr(sdk, "realsense", NoContext)
    with pytest.raises(CameraError, match=r"'front': failed to get.*export HOME=/tmp"):
        sdk.sdk_context("front")
    monkeypatch.setattr(realsense, "installed", lambda module: True)
    answer = Probe(False, "RuntimeError: failed to get special folder 5")
    monkeypatch.setattr(realsense, "probe", lambda code: answer)
    (finding,) = realsense.check()
    assert finding.remedy.endswith("export HOME=/tmp")


def test_a_terminal_of_ascii_gets_what_it_can_show() -> None:
    code = (
        "import sys; from ofp_edge.cli import main; from ofp_edge.cli.output import Output\n"
        "def app(): return lambda: Output(False).console.print('gate – passed…')\n"
        "main.build_app = app; main.main()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "gate ? passed?\n"
