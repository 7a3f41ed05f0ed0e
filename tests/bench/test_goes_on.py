"""A suite goes on after a kill, from published cells, and not unasked from what other code made."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ofp_edge.bench import work
from ofp_edge.bench.cells import units
from ofp_edge.bench.run import require_this_code
from ofp_edge.bench.store import open_store
from ofp_edge.errors import OfpError
from tests.bench.conftest import WORK, Edit, HerePool, IdlePool, cell, run, write_suite


def published(folder: Path, to: Path) -> Path:
    """What is published of a work folder: its marker and its cells."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("datasets", "policies"))
    return to


def test_published_cells_go_on_elsewhere(edited: Edit, here: HerePool, tmp_path: Path) -> None:
    run(edited(), tmp_path / "work", here, "*/flow")
    folder = published(tmp_path / "work", tmp_path / "elsewhere")
    here.done.clear()
    run(edited(), folder, here, "*/flow")
    assert here.done == [], "nothing is left to do, so nothing is collected"
    run(edited(a="seeds = [0] -> seeds = [0, 1]"), folder, here, "*/flow")
    assert here.done == [f"collect {WORK}", f"train_and_evaluate {WORK}/flow/1"]
    assert len(list(folder.glob("datasets/*"))) == len(list(folder.glob("policies/*/*"))) == 1


def test_published_cells_of_other_demonstrations_are_refused(
    edited: Edit, here: HerePool, tmp_path: Path
) -> None:
    run(edited(), tmp_path / "work", here, "*/flow")
    folder = published(tmp_path / "work", tmp_path / "elsewhere")
    (path,) = folder.glob("cells/dataset-*")
    path.write_text(re.sub('"sha256": "...', '"sha256": "0ff', path.read_text()))
    more = edited(a="seeds = [0] -> seeds = [0, 1]")
    for _ in range(2):  # what was refused once is not there for the next
        with (
            open_store(folder, more.name, any_code=False) as store,
            pytest.raises(OfpError, match=f"^{WORK}: collected again, .*Begin anew in another"),
        ):
            work.collect(more, store, more.tasks[0])
        assert not list(folder.glob("datasets/*"))


def test_what_other_code_did_is_asked_about_before_it_is_lost(
    edited: Edit, here: HerePool, tmp_path: Path
) -> None:
    suite, folder = edited(a="nfe = [2, 1] -> nfe = [2]"), tmp_path / "work"
    run(suite, folder, here, "*/flow")
    (done,) = folder.glob("cells/episodes-*")
    whole = done.read_text()
    done.write_text(re.sub('"code": "[^"]*"', '"code": "of before"', whole))
    before = {x: x.read_bytes() for x in folder.glob("cells/*")}

    def ended(*more: str) -> tuple[int, str]:
        words = bench(tmp_path / "tiny.toml", "-o", folder, "--workers", 1, "--only", "*/flow")
        found = subprocess.run([*words, *more], capture_output=True, text=True, check=False)
        return found.returncode, found.stderr.strip()

    code, line = ended()
    assert code == 1 and len(line.splitlines()) == 1, line
    assert "other code of ofp-edge did 1 of the things to do here" in line
    assert "--any-code to keep them, or --this-code to do them anew" in line
    code, said = ended("--any-code")
    assert code == 0, said
    assert before == {x: x.read_bytes() for x in folder.glob("cells/*")}
    with open_store(folder, suite.name, any_code=False, write=False) as store:
        require_this_code(suite, store, units(suite, ("*/ours",)))  # which nothing was done of
    code, said = ended("--this-code")
    assert code == 0, said
    assert "of before" not in done.read_text()
    assert json.loads(done.read_text())["steps"] == json.loads(whole)["steps"]


def test_one_side_of_a_comparison_gets_its_episodes_anew(
    edited: Edit, here: HerePool, tmp_path: Path
) -> None:
    """In rounds, each of which leaves as many things to do as the one before."""
    suite, folder = edited(a="nfe = [2, 1] -> nfe = [2]"), tmp_path / "work"
    run(suite, folder, here)
    (done,) = folder.glob("cells/episodes-*-flow-*")
    whole = json.loads(done.read_text())
    done.unlink()
    run(suite, folder, here)
    assert json.loads(done.read_text())["steps"] == whole["steps"] and len(whole["steps"]) == 2


def test_jobs_that_leave_nothing_here_are_an_error(edited: Edit, tmp_path: Path) -> None:
    elsewhere = IdlePool()
    with pytest.raises(OfpError, match="collect .*: the jobs ended, and wrote nothing here"):
        run(edited(), tmp_path / "work", elsewhere)
    here = HerePool()
    run(edited(), tmp_path / "work", here, "*/flow")
    elsewhere.done.clear()
    with pytest.raises(OfpError, match="train .*ours.*wrote nothing here"):
        run(edited(), tmp_path / "work", elsewhere)
    assert elsewhere.done == ["train_and_evaluate"]


def bench(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ofp_edge", "bench", *map(str, arguments)]


@pytest.mark.slow
def test_goes_on_after_a_kill_and_ends_as_if_it_had_not_been(
    edited: Edit, here: HerePool, tmp_path: Path
) -> None:
    """Killed at the first checkpoint: the training goes on from there, with no process left."""
    changes = ["steps = 4 -> steps = 700", "nfe = [2, 1] -> nfe = [2]"]
    path = write_suite(tmp_path / "suite.toml", changes)
    folder, only = tmp_path / "work", ("--only", "*/flow/0")
    process = subprocess.Popen(
        bench(path, "-o", folder, "--workers", 1, *only),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(folder.glob("policies/*/*/training/state.json")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not cell(folder, "training")["finished"]
    done = json.loads(
        subprocess.run(
            bench(path, "-o", folder, "--workers", 1, *only, "--json"),
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    assert done["to_do"] == [] and done["cells_done"] == 1
    killed = cell(folder, "training")
    run(edited(a=changes[0], b=changes[1]), tmp_path / "again", here, "*/flow/0")
    straight = cell(tmp_path / "again", "training")
    assert killed["sha256"] == straight["sha256"]
    assert cell(folder, "episodes")["steps"] == cell(tmp_path / "again", "episodes")["steps"]
