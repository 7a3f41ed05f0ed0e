"""A candidate against a baseline, over the same episodes, pooled over the tasks of a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ofp_edge.bench import cells
from ofp_edge.bench.bootstrap import DIFFERENCE, Estimate, Values, estimate
from ofp_edge.bench.store import Cell, Store
from ofp_edge.bench.suite import Comparison, Side, Suite, TaskEntry

NOT_WORSE, BETTER, WORSE, OPEN = "not worse", "better", "worse", "open"


@dataclass(frozen=True)
class Compared:
    """One comparison in one group.

    `against` is the comparison's own, or the best other row, as far as there is one yet.
    `estimate` is candidate minus against, in shares of the episodes, and None before any pair
    exists. `episodes` is the number for each training seed, the fewest of any pair. `pairs` and
    `planned` count the pairs (task, training seed) that are done and that there will be.
    """

    comparison: Comparison
    against: Side | None
    group: str
    estimate: Estimate | None
    episodes: int
    pairs: int
    planned: int
    tasks: tuple[str, ...]

    def verdict(self, margin: float) -> str:
        """The verdict: "better" when the interval lies above 0, "not worse" when it lies above
        -margin, "worse" when it lies below -margin, and "open" in every other case, which says
        nothing either way."""
        found = self.estimate
        if found is None:
            return OPEN
        if found.low > 0:
            return BETTER
        if found.low > -margin:
            return NOT_WORSE
        return WORSE if found.high < -margin else OPEN


def compare_all(suite: Suite, store: Store) -> list[Compared]:
    """Make every comparison in every group, from the cells that are done."""
    return [
        compare(suite, store, comparison, group)
        for group in suite.groups
        for comparison in suite.comparisons
    ]


def compare(suite: Suite, store: Store, comparison: Comparison, group: str) -> Compared:
    """Compare candidate minus against over paired episodes: the same task, training seed and
    episode seed."""
    members = [task for task in suite.tasks if task.group == group]
    candidate = _done(suite, store, members, comparison.candidate)
    side = comparison.against or _best_other(suite, store, members, comparison.candidate, candidate)
    against = _done(suite, store, members, side) if side else {}
    pairs: dict[str, list[Values]] = {}
    for (task, seed), cell in candidate.items():
        if (task, seed) in against:
            pairs.setdefault(task, []).append(_difference(cell, against[task, seed]))
    flat = [x for seeds in pairs.values() for x in seeds]
    # Every pair has the same number of episodes: no training weighs more for having run longer.
    least = min((len(x) for x in flat), default=0)
    cut = [[x[:least] for x in seeds] for seeds in pairs.values()]
    found = estimate(cut, DIFFERENCE) if least else None
    planned = len(members) * len(suite.seeds)
    return Compared(comparison, side, group, found, least, len(flat), planned, tuple(pairs))


def _done(
    suite: Suite, store: Store, tasks: list[TaskEntry], side: Side
) -> dict[tuple[str, int], Cell]:
    """Return the episodes of a row at an nfe that there are, by task and training seed."""
    found = {
        (task.name, seed): episodes_of(suite, store, task, side, seed)
        for task in tasks
        for seed in suite.seeds
    }
    return {key: cell for key, cell in found.items() if cell is not None}


def _best_other(
    suite: Suite, store: Store, tasks: list[TaskEntry], candidate: Side, own: dict[Any, Cell]
) -> Side | None:
    """Return the side of another method that succeeds most often where the candidate has episodes,
    and any of them, the same for all tasks. One that lacks any of those can't be it."""
    method = suite.row(candidate.row).method
    sides = [Side(row.name, n) for row in suite.rows if row.method != method for n in row.nfe]
    done = {side: _done(suite, store, tasks, side) for side in sides}
    shared = [key for key in own if any(key in cells_of for cells_of in done.values())]
    means = {
        side: np.mean([np.mean(cells_of[key]["success"]) for key in shared])
        for side, cells_of in done.items()
        if shared and all(key in cells_of for key in shared)
    }
    return max(means, key=lambda side: means[side], default=None)


def episodes_of(suite: Suite, store: Store, task: TaskEntry, side: Side, seed: int) -> Cell | None:
    """Return the episodes of a row at an nfe, or None before there are any."""
    row = suite.row(side.row)
    unit = cells.Unit(task, row.training, seed, (row,))
    training = cells.finished_training(suite, store, unit)
    if training is None:
        return None
    return store.read("episodes", cells.episodes_inputs(suite, unit, training, row, side.nfe))


def _difference(candidate: Cell, against: Cell) -> Values:
    count = min(len(candidate["seed"]), len(against["seed"]))
    if candidate["seed"][:count] != against["seed"][:count]:
        raise AssertionError("the two sides ran other episodes")
    first, second = (np.asarray(x["success"][:count], np.float64) for x in (candidate, against))
    return first - second
