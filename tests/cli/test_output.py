"""What every command promises: exit codes, one JSON document, one-line errors, traces for bugs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import tty
from pathlib import Path

import pytest
import typer
from rich.table import Table

from ofp_edge.cli.output import Output, _fail

ROOT = Path(__file__).resolve().parents[2]

# A command line of its own, run as a program: stdout, stderr and exit code are the real ones.
PROGRAM = '''
from pathlib import Path
from typing import Annotated
import numpy as np
import typer
from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError

def work(
    output: Output,
    how: Annotated[str, typer.Argument(help="What happens.")],
    times: Annotated[int, typer.Option("-n", help="How often (default 2).")] = 2,
    force: Force = False,
) -> Document:
    """Do the work, and wrap this sentence over
    two lines of the source.
    """
    with output.progress("working") as progress:
        for i in range(times):
            progress(i + 1, times)
    output.console.print("for people [1, 2]", markup=False)
    if how == "mistake":
        raise OfpError("camera 'wrist': expected [480, 640],\\n got [1, 2]. " + "Look at it. " * 12)
    if how == "spaces":
        raise OfpError("unknown name 'the  left'. Did you mean 'the left'?")
    if how == "bug":
        raise KeyError("ours")
    if how == "stop":
        raise KeyboardInterrupt
    if how == "failed":
        output.exit_code = 1
    if how == "keys":
        return {"other": 1}
    return {"path": Path("a/b"), "count": np.int64(times), "list": np.arange(2.0), "force": force}

app = typer.Typer(pretty_exceptions_enable=False)
app.callback()(lambda: None)
add_command(app, "work", work, ("path", "count", "list", "force"))
app()
'''


def work(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "work", *arguments],
        capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_people_read_stdout_and_progress_goes_to_stderr() -> None:
    done = work("well")
    assert (done.returncode, done.stdout) == (0, "for people [1, 2]\n")
    assert "working" in done.stderr


def on_a_terminal(code: str) -> str:
    """What a program writes whose stdout and stderr are one terminal of 80 columns."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    env = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        cwd=ROOT, env=env,
    ) as child:  # fmt: skip
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while part := os.read(ours, 65536):
                said += part
        assert child.wait(60) == 0, said
    os.close(ours)
    return said.decode()


BAR = """
from ofp_edge.cli.output import Output
output = Output(as_json=False)
with output.progress("building") as progress:
    output.console.print("for people")
"""


def test_what_is_said_beside_a_bar_stands_on_a_line_of_its_own() -> None:
    said = on_a_terminal(BAR)
    assert re.search(r"(^|\n|\x1b\[2K)for people\n", said), repr(said)


def test_a_bar_that_never_moved_leaves_nothing() -> None:
    wiped, kept = on_a_terminal(BAR), on_a_terminal(BAR + "    progress(2, 2)\n")
    assert wiped.rindex("\x1b[2K") > wiped.rindex("building"), repr(wiped)
    assert "2/2" in kept and kept.rindex("\x1b[2K") < kept.rindex("2/2"), repr(kept)


def test_json_is_the_only_thing_on_stdout() -> None:
    done = work("well", "-n", "3", "--force", "--json")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == {
        "path": "a/b", "count": 3, "list": [0.0, 1.0], "force": True,
    }  # fmt: skip
    assert "for people" in done.stderr


def test_a_users_mistake_is_one_line_and_exit_1() -> None:
    done = work("mistake")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("error: camera 'wrist': expected [480, 640], got [1, 2]. Look at it.")
    assert last.endswith("Look at it.") and len(last) > 80  # not wrapped
    assert "Traceback" not in done.stderr


def test_spaces_by_which_alone_two_names_differ_stay() -> None:
    for done in (work("spaces").stderr, work("spaces", "--json").stdout):
        assert "'the  left'. Did you mean 'the left'?" in done


def test_a_users_mistake_under_json_is_an_error_document() -> None:
    done = work("mistake", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert set(document) == {"error"}
    assert document["error"].startswith("camera 'wrist': expected [480, 640], got [1, 2].")
    assert "\n" not in document["error"]


def test_a_bug_keeps_its_trace() -> None:
    done = work("bug", "--json")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "KeyError: 'ours'" in done.stderr
    assert done.stdout == ""


def test_ctrl_c_ends_with_130_and_no_trace() -> None:
    done = work("stop")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_failed_check_prints_its_document_and_exits_1() -> None:
    done = work("failed", "--json")
    assert done.returncode == 1
    assert set(json.loads(done.stdout)) == {"path", "count", "list", "force"}


def test_keys_other_than_the_promised_ones_are_a_bug() -> None:
    done = work("keys", "--json")
    assert "AssertionError" in done.stderr and done.returncode == 1


@pytest.mark.parametrize("arguments", [[], ["well", "-n", "many"], ["well", "--nonsense"]])
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    done = work(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_is_rewrapped_and_fits_80_columns() -> None:
    done = work("--help")
    assert done.returncode == 0
    assert "Do the work, and wrap this sentence over two lines of the source." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_an_option_without_a_default_keeps_its_names_on_python_3_10() -> None:
    """There, type hints wrap it once more: Optional[Annotated[…]]."""
    import typing

    import typer

    from ofp_edge.cli.output import Document, Output, add_command

    inner = typing.Annotated[Path | None, typer.Option("--out", "-o", help="Where to.")]

    def work(output: Output, out: typing.Optional[inner] = None) -> Document:  # type: ignore[valid-type]  # noqa: UP045
        """Work."""
        return {}

    work.__annotations__["out"] = typing.Optional[inner]  # noqa: UP045
    work.__annotations__["output"], work.__annotations__["return"] = Output, Document
    app = typer.Typer()
    add_command(app, "work", work, ())
    (option,) = (p for p in typer.main.get_command(app).params if p.name == "out")
    assert option.opts == ["--out", "-o"]


def test_what_a_file_says_moves_no_cursor_and_is_no_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output(as_json=False)
    table = Table("\x1b[31mhead", "b")
    table.add_row("\x1b]0;title\x07", "[/wrong] cell")
    for text in ("\x1b[2J up", "[/no] such tag", "x" * 70_000, "two\nlines", "[bold]ours[/]"):
        output.console.print(text, soft_wrap=True)
    output.console.print(table)
    said = capsys.readouterr().out
    assert not any(c < " " and c != "\n" or c == "\x7f" for c in said)
    assert "[/no] such tag" in said and "two\nlines" in said and "\nours\n" in said
    assert max(map(len, said.splitlines())) < 5000
    with pytest.raises(typer.Exit):
        _fail(output, "path\\[red]x[/] and [bold]", 1)
    assert "path\\[red]x[/] and [bold]" in capsys.readouterr().err.replace("\n", "")
