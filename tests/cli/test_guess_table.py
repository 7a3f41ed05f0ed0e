"""The table of what each key is taken for, as a terminal of 80 columns shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from ofp_edge.cli.taken import table_of
from ofp_edge.data.guess import look
from ofp_edge.data.layouts import open_source
from tests.data.foreign import FIXTURES, LAYOUTS
from tests.data.made import joined, path, switch
from tests.data.test_guess_actions import file_of


def printed(name: str) -> str:
    """The table as 80 columns show it."""
    console = Console(width=80, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table_of(look(open_source(FIXTURES / name)).taken))
    return captured.get()


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_table_is_readable_at_80_columns(name: str) -> None:
    lines = printed(name).splitlines()
    source = open_source(FIXTURES / name)
    rows = look(source).taken
    split = ["columns"] if any(row.columns for row in rows) else []
    assert lines[1].split() == ["key", *split, "taken", "as", "why"]
    assert max(len(line) for line in lines) <= 80
    text = "".join(lines)
    assert not any(mark in text for mark in ("…", "\x1b"))
    second = lines[1].index(split[0] if split else "taken")
    keys = "".join(line[:second].strip() for line in lines[3:])
    folded = "".join(row.key for row in rows)
    assert keys == folded  # each key in full, in order, and nothing else in that column


def test_the_table_says_what_an_action_is_and_why() -> None:
    text = " ".join(printed("robomimic.hdf5").split())
    for words in (" 0-2 ", "action move:", "delta, hold 0", " 3 ", "nearest", "control_delta"):
        assert words in text
    text = " ".join(printed("lerobot-v3.0").split())
    assert "frame_index left bookkeeping, not what a robot" in text


def info(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(build_app(), ["data", "info", *map(str, arguments), "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_the_document_has_the_table(tmp_path: Path) -> None:
    said = info(FIXTURES / "dp3.zarr", "--write-mapping", tmp_path / "m.toml")
    rows = {(x["key"], tuple(x["columns"] or ())): x for x in said["taken"]}
    assert rows["action", (3, 4)]["field"] == "gripper" and said["refused"] is None
    assert rows["depth", ()]["taken"] == "left" and "[camera.NAME]" in rows["depth", ()]["why"]
    text = (tmp_path / "m.toml").read_text()
    assert all(f"# guessed: {line}" in text for line in said["guessed"])
    by_mapping = info(tmp_path / "m.toml")["taken"]
    assert {x["why"] for x in by_mapping} == {"the mapping says so", "not named"}


def test_what_is_asked_is_said_and_written_to_be_answered(tmp_path: Path) -> None:
    file = file_of(tmp_path, joined(path(6, away=1.5), switch(-1, 1)))
    said = info(file, "--write-mapping", tmp_path / "m.toml", code=1)  # `train` refuses it
    assert "values leave ±1" in said["refused"] and said["guessed"] == []
    assert 'kind = "?"' in (tmp_path / "m.toml").read_text()
    (row,) = (x for x in said["taken"] if x["key"] == "actions" and x["columns"] == [0, 6])
    assert "to be asked" in row["taken"]
    result = CliRunner().invoke(build_app(), ["data", "info", str(file)])
    assert result.exit_code == 1 and "Likely is: action = [{" in result.output


def test_brackets_in_what_is_said_are_printed_as_they_are() -> None:
    result = CliRunner().invoke(build_app(), ["data", "info", str(FIXTURES / "dp3.zarr")])
    assert "until [camera.NAME] states" in result.output and "\\[" not in result.output
