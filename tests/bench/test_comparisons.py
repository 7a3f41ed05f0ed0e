"""Which row is the best other one, and what a candidate is held against then."""

from __future__ import annotations

from typing import Any

import pytest

from ofp_edge.bench import comparisons
from ofp_edge.bench.comparisons import Compared, compare
from ofp_edge.bench.results import _comparison
from ofp_edge.bench.suite import Suite
from tests.bench.conftest import Edit

NAMES = "metaworld/door-open", "metaworld/peg-insert-side"
OURS, COLD, FLOW_2, FLOW_1, SLOW = "ours @1", "cold @1", "flow @2", "flow @1", "slow @3"
SLOW_ROW = '[[rows]]\nname = "slow"\nmethod = "diffusion"\nnfe = [3]\n'


@pytest.fixture
def suite(edited: Edit) -> Suite:
    more = f'[[tasks]]\nname = "{NAMES[1]}"\nsteps = 4\n[[rows]]'
    return edited(
        best='["flow", 2] -> "best"', row=f"[[compare]] -> {SLOW_ROW}[[compare]]",
        first=f"metaworld/button-press-topdown-wide -> {NAMES[0]}", second=f"[[rows]] -> {more}",
    )  # fmt: skip


@pytest.fixture
def best(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compare where these successes are all that was run: {side: ((of one task), (of two))}."""

    def compared(episodes: dict[str, tuple[tuple[int, ...], ...]]) -> Compared:
        def of(suite: Any, store: Any, task: Any, side: Any, seed: int) -> Any:
            found = episodes.get(str(side), ())
            number = NAMES.index(task.name)
            ran = found[number] if number < len(found) else ()
            return {"seed": list(range(len(ran))), "success": list(ran)} if ran else None

        monkeypatch.setattr(comparisons, "episodes_of", of)
        return compare(suite, None, suite.comparisons[0], "standard")  # type: ignore[arg-type]

    return compared


def test_the_best_of_all_tasks_is_taken_not_the_best_of_each(best: Any, suite: Suite) -> None:
    found = best({
        OURS: ((1, 1, 0, 0), (1, 1, 1, 0)), COLD: ((1, 1, 1, 1), (1, 1, 1, 1)),
        FLOW_2: ((1, 1, 1, 1), (0, 0, 0, 0)), FLOW_1: ((1, 1, 1, 0), (1, 1, 0, 0)),
        SLOW: ((0, 0, 0, 0), (1, 1, 1, 1)),
    })  # fmt: skip
    assert str(found.against) == FLOW_1, "and not our own cold row, which is better than all"
    assert found.estimate is not None and found.estimate.mean == 0
    assert _comparison(suite, found)["against"] == "the best other, flow @1"


def test_a_row_that_lacks_a_task_of_the_candidates_is_not_it(best: Any, suite: Suite) -> None:
    found = best({OURS: ((1, 0), (1, 0)), FLOW_2: ((1, 1),), SLOW: ((0, 0), (1, 0))})
    assert str(found.against) == SLOW and found.pairs == 2
    one = best({OURS: ((1, 0),), FLOW_2: ((1, 1),), SLOW: ((0, 0), (1, 0))})
    assert str(one.against) == FLOW_2 and one.pairs == 1


def test_before_anything_ran_there_is_none(best: Any, suite: Suite) -> None:
    for episodes in ({}, {OURS: ((1,), (1,))}, {FLOW_2: ((1,), (1,))}):
        found = best(episodes)
        assert found.against is None and found.estimate is None
        assert _comparison(suite, found)["against"] == "the best other"


def test_a_task_that_no_other_method_ran_yet_does_not_count(best: Any, suite: Suite) -> None:
    found = best({OURS: ((1, 0), (1, 0)), FLOW_2: ((1, 1),), SLOW: ((0, 0),), COLD: ((1,), (1,))})
    assert str(found.against) == FLOW_2 and found.pairs == 1
