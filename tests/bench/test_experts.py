"""A task that has no expert of its own: a suite says which file shows it, and what that holds."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

pytest.importorskip("gymnasium_robotics")

from ofp_edge.bench import work
from ofp_edge.bench.cells import dataset_inputs
from ofp_edge.bench.check import check_names
from ofp_edge.bench.store import open_store
from ofp_edge.bench.suite_file import read_suite
from ofp_edge.cli.expert import read_expert
from ofp_edge.cli.main import build_app
from ofp_edge.errors import SuiteError
from ofp_edge.files import sha256_file
from ofp_edge.sim.collect import collect_demonstrations
from tests.bench.conftest import Edit, IdlePool, write_suite
from tests.imports.mjrl_pickle import still

EASY = 8  # a seed in which the pen lies almost as it should, and falls into place
PEN = "metaworld/button-press-topdown-wide -> adroit/pen"


def shown(sha256: str) -> str:
    return f'steps = 4 -> steps = 4\nexpert = "pen.pickle"\nexpert_sha256 = "{sha256}"'


def bench(suite: Path, *words: object) -> tuple[int, dict[str, str]]:
    said = CliRunner().invoke(build_app(), ["bench", *map(str, (suite, *words)), "--json"])
    assert isinstance(said.exception, SystemExit | None), said.exception
    return said.exit_code, json.loads(said.stdout)


def test_a_suite_is_shown_by_the_file_that_it_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = IdlePool()
    monkeypatch.setattr("ofp_edge.bench.pool.LocalPool", lambda workers: pool)
    (tmp_path / "experts").mkdir()
    expert = still(tmp_path / "experts/pen.pickle", 45, 24)
    meant = sha256_file(expert)
    suite = write_suite(tmp_path / "tiny.toml", [PEN, shown(meant)])

    code, said = bench(suite, "-o", tmp_path / "work")  # looks in this folder
    assert code == 1 and "there is no pen.pickle. Download it" in said["error"]
    assert not pool.jobs

    found = "--experts", tmp_path / "experts"
    code, said = bench(suite, "-o", tmp_path / "work", *found)
    assert [job[1][3].sha256 for job in pool.jobs] == [meant]
    assert code == 1 and "wrote nothing here" in said["error"]

    other = still(tmp_path / "experts/pen.pickle", 45, 23)
    code, said = bench(suite, "-o", tmp_path / "work", *found)
    assert code == 1 and f"expected {meant}, got {sha256_file(other)}" in said["error"]
    assert len(pool.jobs) == 1


def test_its_demonstrations_are_collected(edited: Edit, tmp_path: Path) -> None:
    expert = read_expert(still(tmp_path / "pen.pickle", 45, 24))
    suite = edited(a=PEN, b=shown(expert.sha256))
    with (
        patch.object(work, "collect_demonstrations", partial(collect_demonstrations, seed=EASY)),
        open_store(tmp_path / "work", suite.name, any_code=False) as store,
    ):
        work.collect(suite, store, suite.tasks[0], expert)
        cell = store.read("dataset", dataset_inputs(suite, suite.tasks[0]))
        assert cell is not None and cell["steps"] > 2
    attributes = json.loads(next(tmp_path.glob("work/datasets/*/.zattrs")).read_text())["ofp_edge"]
    assert attributes["collector"]["expert_sha256"] == expert.sha256


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ((PEN,), "adroit/pen: expert: missing. The task has none of its own"),
        ((shown("0" * 64),), "topdown-wide: expert: the task has its own"),
    ],
)
def test_a_suite_says_who_shows_what_alone_needs_it(
    edited: Edit, changes: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SuiteError, match=says):
        check_names(edited(**dict(zip("ab", changes, strict=False))))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("steps = 4 -> steps = 4\nexpert = 'x'", "give expert and expert_sha256 together"),
        ("steps = 4 -> steps = 4\nexpert_sha256 = 'x'", "give expert and expert_sha256 together"),
        ("steps = 4 -> steps = 4\nexpert = '../x'\nexpert_sha256 = 'x'", "the name of a file"),
    ],
)
def test_an_expert_is_a_file_by_name_and_hash(tmp_path: Path, change: str, says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        read_suite(write_suite(tmp_path / "s.toml", [change]))
