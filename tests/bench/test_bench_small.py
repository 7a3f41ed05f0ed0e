"""The rows that `make bench-small` runs again are published, and a difference is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ofp_edge.bench.cells import units
from ofp_edge.bench.suite import find_suite
from ofp_edge.bench.suite_file import read_suite

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import bench_small

        yield bench_small


def test_every_row_is_in_its_suite_and_published(small: ModuleType) -> None:
    assert len(small.ROWS) == 6
    for suite, row, folder in small.ROWS:
        (unit,) = units(read_suite(find_suite(suite)), (row,))
        published = small.successes(ROOT / "docs/results" / folder / "results.json", row)
        assert tuple(published) == unit.row.nfe, folder
        assert all(x.episodes >= 100 for x in published.values()), folder


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [(77, 73, False), (77, 58, False), (77, 48, True), (100, 95, False), (100, 0, True)],
)
def test_successes_differ_where_chance_and_a_draw_do_not_explain_it(
    small: ModuleType, one: int, other: int, differs: bool
) -> None:
    a, b = small.Success(one, 100), small.Success(other, 100)
    assert small.apart(a, b) == small.apart(b, a) == differs
