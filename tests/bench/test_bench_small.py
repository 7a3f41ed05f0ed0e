"""The rows that `make bench-small` runs again are published, and a difference is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ofp_edge.bench.cells import units
from ofp_edge.bench.suite import find_suite
from ofp_edge.bench.suite_file import read_suite

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from bench_small import ROWS, Success, apart, successes  # noqa: E402


@pytest.mark.parametrize(("suite", "row", "folder"), ROWS)
def test_a_row_is_in_its_suite_and_published(suite: str, row: str, folder: str) -> None:
    (unit,) = units(read_suite(find_suite(suite)), (row,))
    published = successes(ROOT / "docs/results" / folder / "results.json", row)
    assert tuple(published) == unit.row.nfe and all(x.episodes >= 100 for x in published.values())


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [(77, 73, False), (77, 58, False), (77, 48, True), (100, 95, False), (100, 0, True)],
)
def test_successes_differ_where_chance_and_a_draw_do_not_explain_it(
    one: int, other: int, differs: bool
) -> None:
    a, b = Success(one, 100), Success(other, 100)
    assert apart(a, b) == apart(b, a) == differs
