"""Every line that a document tells a reader to type is one that the program takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ofp_edge.cli.main import build_app
from tests.documents.lines import ROOT, Line, documented, lines_of

LINES = documented()
OURS = [x for x in LINES if re.match(r"(?:\.venv/bin/)?ofp-edge ", x.text)]


@pytest.fixture(scope="module")
def app() -> Any:
    return typer.main.get_command(build_app())


def parsed(app: Any, words: list[str]) -> None:
    """Take a command line apart as the program does, and run nothing."""
    command, context = app, None
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            raise ValueError(f"no command {words[:1]} of {sorted(command.commands)}")
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context(command.name, list(words), resilient_parsing=False)
    assert context is not None


def of(line: Line) -> list[str]:
    """Its words behind `ofp-edge`; an ellipsis stands for what the reader puts there."""
    cut = re.split(r"\s[>|]\s", line.text)[0].replace(" …", "").replace(" ...", "")
    return Line(line.place, cut).words[1:]


@pytest.mark.parametrize("line", OURS, ids=lambda x: f"{x.place}: {x.text[:60]}")
def test_a_command_of_ours_is_taken(app: Any, line: Line) -> None:
    if re.search(r" (…|\.\.\.)", line.text):
        command = app
        for word in of(line):
            if not hasattr(command, "commands"):
                break
            assert word in command.commands
            command = command.commands[word]
        return
    parsed(app, of(line))


@pytest.mark.parametrize(
    "words",
    [["trian", "x"], ["train"], ["train", "x", "--stepps", "3"], ["rig", "nwe"],
     ["run", "b", "--rig"],],
)  # fmt: skip
def test_this_test_would_notice(app: Any, words: list[str]) -> None:
    with pytest.raises(Exception) as raised:  # typer has a click of its own
        parsed(app, words)
    kinds = {kind.__name__ for kind in type(raised.value).__mro__}
    assert kinds & {"ValueError", "ClickException"}


def test_there_are_lines_enough() -> None:
    places = {x.place for x in OURS}
    assert len(OURS) > 80 and {"docs/journeys/my-data.md", "docs/jetson.md"} <= places


def test_targets_and_scripts_are_there() -> None:
    targets = set(re.findall(r"(?m)^([a-z0-9-]+):", (ROOT / "Makefile").read_text()))
    for line in LINES:
        words = line.words
        if words[0] == "make":
            named = [x for x in words[1:] if "=" not in x]
            assert set(named) <= targets, f"{line.place}: {line.text}"
        script = re.search(r"\bscripts/[\w./-]+", line.text)
        if script:
            assert Path(ROOT, script[0]).is_file(), f"{line.place}: {line.text}"


def test_every_line_that_drives_a_robot_is_marked() -> None:
    """In the journeys: what is not marked is run by `make stranger`."""
    for line in OURS:
        if not line.place.startswith("docs/journeys/") or line.mark:
            continue
        moves = line.words[1] == "run" and "--dry-run" not in line.words
        assert not moves and not line.text.startswith(".venv/bin/"), f"{line.place}: {line.text}"


def test_comments_and_continuations_are_read() -> None:
    block = "a b  # c\n# d\n\ne \\\n   f\n"
    assert lines_of(block) == ["a b", "e f"]
