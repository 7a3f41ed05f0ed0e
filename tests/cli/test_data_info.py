"""`data info`: its verdict line and exit code, and the page that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from tests.data.foreign import FIXTURES, copied
from tests.data.made import joined, path, switch
from tests.data.test_guess_actions import file_of
from tests.data.test_left_out import mapped, spoil

SOUND = """\
source = "{source}"
control_hz = 10.0
[[observation]]
name = "state"
key = "state"
columns = [0, 4]
kind = "state"
unit = "m"
frame = "base"
[[action]]
name = "move"
key = "action"
kind = "absolute"
unit = "m"
frame = "base"
"""


def info(*words: object, as_json: bool = True) -> tuple[int, str]:
    """Exit code and stdout."""
    line = ["data", "info", *map(str, words), *["--json"] * as_json]
    result = CliRunner().invoke(build_app(), line)
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, result.stdout


def test_people_read_what_was_asked_for_and_whole_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = info(FIXTURES / "lerobot-v3.0", as_json=False)[1]
    document = json.loads(info(FIXTURES / "lerobot-v3.0")[1])
    head, asked, *lines = said.splitlines()
    assert "task" not in head and asked.startswith("task: ") and "unknown" not in asked
    for key in document["keys"]:
        whole = [line for line in lines if line.split() and line.split()[0] == key["name"]]
        assert len(whole) >= 2, (key["name"], said)  # what it holds, what it is taken for


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A mapping of which nothing is odd."""
    file = tmp_path / "sound.toml"
    file.write_text(SOUND.format(source=FIXTURES / "dp3.zarr"))
    return file


def disagreeing(folder: Path) -> Path:
    return file_of(folder, joined(path(6, away=1.5), switch(-1, 1)))


def test_each_verdict_is_the_last_line_and_an_exit_code(sound: Path, tmp_path: Path) -> None:
    odd, refused = FIXTURES / "dp3.zarr", disagreeing(tmp_path)
    for dataset, verdict, line, code, strict in (
        (sound, "ready", "ready to train: nothing odd", 0, 0),
        (odd, "look", "trainable, 2 things to look at", 0, 1),
        (refused, "refused", f"cannot be trained as it is: {refused}: actions, columns", 1, 1),
    ):
        ended, out = info(dataset)
        said: dict[str, Any] = json.loads(out)
        assert (ended, said["verdict"]) == (code, verdict)
        assert (said["refused"] is None) is (verdict != "refused")
        ended, shown = info(dataset, "--strict", as_json=False)
        assert ended == strict and shown.splitlines()[-1].startswith(line), shown


def test_an_unreadable_episode_is_judged_and_has_a_page(tmp_path: Path) -> None:
    made = copied("robotwin-raw", tmp_path)
    spoil(made)
    page = tmp_path / "page.html"
    code, out = info(made, "-o", page)
    said = json.loads(out)
    assert code == 1 and said["verdict"] == "refused" and said["page"] == str(page)
    assert "cannot be read" in said["refused"]
    text = page.read_text()
    assert "Episodes that can't be read" in text
    assert "<pre>episodes = [0, 2]</pre>" in text
    assert "episode 2" in text and text.count("<img ") == 2 * 2 * 8


def test_an_existing_page_is_kept_without_force(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    code, out = info(FIXTURES / "dp3.zarr", "-o", page)
    assert code == 1 and "--force" in json.loads(out)["error"] and page.read_text() == "old"
    assert info(FIXTURES / "dp3.zarr", "-o", page, "--force")[0] == 0
    assert page.read_text().startswith("<!doctype html>")
    code, out = info(FIXTURES / "dp3.zarr", "-o", tmp_path / "page.txt")
    assert code == 1 and ".html" in json.loads(out)["error"]


def test_keys_are_whole_at_80_columns() -> None:
    out = info(FIXTURES / "robotwin-raw", as_json=False)[1]
    assert "…" not in out and max(map(len, out.split(" \n")[0].splitlines()[3:6])) <= 80


def test_an_episode_that_the_mapping_leaves_out_is_not_said(tmp_path: Path) -> None:
    made = copied("dp3.zarr", tmp_path)
    spoil(made)
    code, out = info(mapped(made, "episodes = [0, 2]"))
    said = json.loads(out)
    assert code == 0 and not [x for x in said["odd"] if "episode 1" in x]
    assert info(mapped(made))[0] == 1
