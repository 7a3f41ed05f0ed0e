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


def stopped(case: str, how: str, folder: Path) -> tuple[list[list[str]], list[Path]]:
    """The calls of a writer that was left alone, and the folders of all, in order."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crashing", case, how, str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), sorted(folder.iterdir(), key=lambda x: int(x.name))


def whole(case: str, folder: Path) -> list[object]:
    """What may be found: the old artefact and the new one."""
    found = []
    make_old(folder, case)
    found.append(contents(output(folder, case)))
    write_new(folder, case)
    return [*found, contents(output(folder, case))]


@pytest.fixture(scope="module", params=CASES)
def ended(request: pytest.FixtureRequest, memory: Path) -> tuple[str, list[list[str]], list[Path]]:
    """A case, and what came of it where the writer ends at one of its calls."""
    return request.param, *stopped(request.param, "exit", memory / f"{request.param}-exit")


def test_an_end_at_any_call_leaves_old_or_new_and_the_next_writer_clears_up(
    ended: tuple[str, list[list[str]], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, calls, folders = ended
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
    case: str, tmp_path: Path, memory: Path
) -> None:
    _, folders = stopped(case, "full", memory / f"{case}-full")
    old, new = whole(case, tmp_path / "whole")
    for folder in folders:
        out = output(folder, case)
        assert contents(out) in (old, new)
        left = [x.name for x in folder.rglob("*") if x != out and out not in x.parents]
        assert left == (["deep"] if contents(out) is not None and case.startswith("new") else [])


def test_everything_is_synced_before_it_takes_the_name_and_that_before_the_old_is_deleted(
    ended: tuple[str, list[list[str]], list[Path]],
) -> None:
    case, calls, folders = ended
    out = output(folders[-1], case)
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
