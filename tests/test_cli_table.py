"""docs/commands.md's table of commands is the code's; every command keeps the common promises."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import typer.main
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app

ROOT = Path(__file__).resolve().parents[1]
NOT_IMPERATIVE = {"the", "a", "an", "this", "these", "what", "how", "one", "every", "all"}


def load_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "command_table", ROOT / "scripts/command_table.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS = dict(load_table().leaves(typer.main.get_command(build_app())))
"""Whole name, e.g. "calibrate camera", and click's command."""


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return load_table()


def test_the_table_in_commands_md_is_the_code_s(table: ModuleType) -> None:
    expected, have = [*table.HEAD, *table.rows()], table.written()
    for row in expected:
        assert row in have, f"docs/commands.md lacks this row (scripts/command_table.py):\n{row}"
    assert have == expected, "docs/commands.md has rows too many, or in another order"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_one_imperative_sentence(name: str) -> None:
    command = COMMANDS[name]
    first = re.match(r"([A-Z][a-z]+)\b[^.]*[.]", command.help or "")
    assert first is not None, f"{name}: {command.help!r}"
    word = first[1].lower()
    assert word not in NOT_IMPERATIVE and not word.endswith(("s", "ing")), first[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    command = COMMANDS[name]
    silent = [p.name for p in command.params if not (p.help or "").strip()]
    assert silent == []


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_holds_brackets_which_would_be_taken_for_markup_and_vanish(name: str) -> None:
    command = COMMANDS[name]
    texts = [command.help or "", *(p.help or "" for p in command.params)]
    assert [text for text in texts if "[" in text] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json_and_answers_help(name: str) -> None:
    result = CliRunner().invoke(build_app(), [*name.split(), "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert "--json" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_is_a_usage_error(name: str) -> None:
    assert CliRunner().invoke(build_app(), [*name.split(), "--no-such-flag"]).exit_code == 2
