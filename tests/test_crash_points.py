"""A writer that ends at any of its system calls leaves the old artefact or the new one, whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ofp_edge import durable, files
from tests.crashing import CASES, contents, make_old, output, write_new

ROOT = Path(__file__).resolve().parents[1]
EXCHANGES = ("renameat2", "replace", "rename")


Calls = dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def stopped(memory: Path) -> tuple[Path, Calls]:
    """Where every writer was stopped at each of its calls, and the calls of one left alone."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crashing", str(memory)],
        cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return memory, json.loads(done.stdout)


def in_order(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda x: int(x.name))


def whole(case: str, folder: Path) -> list[object]:
    """What may be found: the old artefact and the new one."""
    found = []
    make_old(folder, case)
    found.append(contents(output(folder, case)))
    write_new(folder, case)
    return [*found, contents(output(folder, case))]


@pytest.mark.parametrize("case", CASES)
def test_an_end_at_any_call_leaves_old_or_new_and_the_next_writer_clears_up(
    case: str, stopped: tuple[Path, Calls], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, folders = stopped[1][f"{case}-exit"], in_order(stopped[0] / f"{case}-exit")
    allowed = whole(case, tmp_path / "whole")
    assert len(folders) == len(calls) + 1 > 8
    if case == "aside":
        monkeypatch.setattr(durable, "_renameat2", lambda old, new, flags: False)
    seen = []
    for folder in folders:
        out = output(folder, case)
        files.put_back(out)  # as every reader does
        seen.append(allowed.index(contents(out)))
        if case != "remove":
            write_new(folder, case)
            assert contents(out) == allowed[1]
            assert [x.name for x in out.parent.iterdir()] == ["out"]
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 1


@pytest.mark.parametrize("case", CASES)
def test_a_full_disk_at_any_call_leaves_old_or_new_and_nothing_else(
    case: str, stopped: tuple[Path, Calls], tmp_path: Path
) -> None:
    folders = in_order(stopped[0] / f"{case}-full")
    old, new = whole(case, tmp_path / "whole")
    for folder in folders:
        out = output(folder, case)
        assert contents(out) in (old, new)
        left = [x.name for x in folder.rglob("*") if x != out and out not in x.parents]
        assert left == (["deep"] if contents(out) is not None and case.startswith("new") else [])


@pytest.mark.parametrize("case", CASES)
def test_everything_is_synced_before_it_takes_the_name_and_that_before_the_old_is_deleted(
    case: str, stopped: tuple[Path, Calls]
) -> None:
    calls = stopped[1][f"{case}-exit"]
    out = output(in_order(stopped[0] / f"{case}-exit")[-1], case)
    how = EXCHANGES[1:] if case == "aside" else EXCHANGES
    taken = next(i for i, call in enumerate(calls) if call[0] in how and str(out) in call[1:])
    if case == "aside":
        assert calls[taken][1] == str(out)  # first of all the old one leaves its name
        taken += 1
    partial = calls[taken][1]
    written = {call[1]: i for i, call in enumerate(calls) if call[0] in ("create", "write")}
    folders_made = [call[1] for call in calls if call[0] == "mkdir" and call[1].startswith(partial)]
    assert len(written) == {"file": 1, "new-file": 1, "remove": 0}.get(case, 2)
    for name in [*written, *folders_made]:
        synced = max(i for i, call in enumerate(calls) if call == ["fsync", name])
        assert written.get(name, 0) < synced < taken
    parents = [i for i, call in enumerate(calls) if call == ["fsync", str(out.parent)]]
    deleted = [
        i for i, call in enumerate(calls)
        if i > taken and call[0] in ("unlink", "rmdir") and not call[1].endswith(".lock")
    ]  # fmt: skip
    assert any(taken < i < min(deleted, default=len(calls)) for i in parents)
    if case.startswith("new"):  # the parent's own name too
        assert ["fsync", str(out.parent.parent)] in calls[:taken]
