"""A suite from beginning to end: datasets, timing, trainings, episodes, and more episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ofp_edge.bench import cells
from ofp_edge.bench.cells import Unit
from ofp_edge.bench.comparisons import Compared, compare_all
from ofp_edge.bench.pool import Job, Pool
from ofp_edge.bench.store import Store
from ofp_edge.bench.suite import Side, Suite, TaskEntry
from ofp_edge.errors import OfpError
from ofp_edge.progress import Progress, silent

if TYPE_CHECKING:
    from ofp_edge.sim.adroit import Expert


Experts = Callable[[TaskEntry], "Expert | None"]


def no_experts(task: TaskEntry) -> None:
    """Give no task an expert: every one has its own."""


def run_suite(
    suite: Suite,
    store: Store,
    chosen: list[Unit],
    pool: Pool,
    progress: Progress = silent,
    experts: Experts = no_experts,
) -> None:
    """Do what is missing of the chosen units, then rounds of episodes until every comparison is
    narrow enough or has its most. `experts` gives who shows a task, where the suite names one.
    Raises what a job raised, and OfpError where jobs leave nothing; finished work stays."""
    from ofp_edge.bench import work

    collecting: list[Job] = [
        (work.collect, (suite, store, task, experts(task)))
        for task in _uncollected(suite, store, chosen)
    ]
    _do(pool, "datasets", collecting, progress)
    before: list[str] = []
    while left := remaining(suite, store, chosen):
        if left == before:
            raise OfpError(
                f"{store.root}: {left[0]}: the jobs ended, and wrote nothing here. On a "
                "cluster every machine has to see this folder under this path."
            )
        before = left  # what starts from another row's policy comes in a later round
        timing: list[Job] = [
            (work.time_training, (suite, store, x)) for x in _untimed(suite, store, chosen)
        ]
        _do(pool, "timing runs", timing, progress)
        jobs = list(_missing(suite, store, chosen, work.train_and_evaluate))
        _do(pool, "trainings and episodes", jobs, progress)


def _tasks(suite: Suite, chosen: list[Unit]) -> list[TaskEntry]:
    """The tasks whose demonstrations are needed."""
    units = [*chosen, *(cells.timed(suite, x) for x in chosen if cells.needs_timing(suite, x))]
    return list(dict.fromkeys(x for unit in units for x in cells.tasks_of(suite, unit)))


def _uncollected(suite: Suite, store: Store, chosen: list[Unit]) -> list[TaskEntry]:
    """The tasks without demonstrations, or whose own are gone while there is work to do on them."""
    busy = _tasks(
        suite, [x for x, n in _wanted(suite, store, chosen) if pending(suite, store, x, n)]
    )
    return [
        task
        for task in _tasks(suite, chosen)
        if not store.read("dataset", inputs := cells.dataset_inputs(suite, task))
        or (task in busy and not store.dataset(inputs).exists())
    ]


def _untimed(suite: Suite, store: Store, chosen: list[Unit]) -> list[Unit]:
    """The units to be timed, one of each training, for its time does not depend on its seed, as far
    as what they and the reference start from is there."""
    timed = [cells.timed(suite, unit) for unit in reversed(chosen)]
    first = {(unit.task.name, unit.training): unit for unit in timed}
    return [
        unit
        for unit in first.values()
        if cells.needs_timing(suite, unit)
        and not store.read("timing", cells.timing_inputs(suite, store, unit) or {})
        and _started(suite, store, unit)
        and _started(suite, store, cells.reference_of(suite, unit))
    ]


def _started(suite: Suite, store: Store, unit: Unit) -> bool:
    start = cells.start_of(suite, unit)
    return start is None or cells.finished_training(suite, store, start) is not None


def _do(pool: Pool, title: str, jobs: list[Job], progress: Progress) -> None:
    if jobs:
        progress(0, len(jobs), title)
    for done, _ in enumerate(pool.run(jobs), 1):
        progress(done, len(jobs), title)


def _missing(
    suite: Suite, store: Store, chosen: list[Unit], function: Callable[..., None]
) -> Iterator[Job]:
    for unit, episodes in _wanted(suite, store, chosen):
        if cells.training_inputs(suite, store, unit) is None:
            continue
        if not cells.leads(suite, unit) and not cells.finished_training(suite, store, unit):
            continue  # another's job trains the policy that they share
        if pending(suite, store, unit, episodes):
            yield function, (suite, store, unit, episodes)


def remaining(suite: Suite, store: Store, chosen: list[Unit]) -> list[str]:
    """Say in words what remains to be done, as far as it is known now."""
    tasks = _tasks(suite, chosen)
    datasets = {task.name: cells.dataset_inputs(suite, task) for task in tasks}
    found = [f"collect {n}" for n, inputs in datasets.items() if not store.read("dataset", inputs)]
    for unit, episodes in _wanted(suite, store, chosen):
        found += pending(suite, store, unit, episodes)
    return found


def require_this_code(suite: Suite, store: Store, chosen: list[Unit]) -> None:
    """Raise OfpError where cells of other code would be made anew: hours, and not asked for."""
    kept = remaining(suite, replace(store, any_code=True), chosen)
    anew = [what for what in remaining(suite, store, chosen) if what not in kept]
    if anew:
        raise OfpError(
            f"{store.root}: other code of ofp-edge did {len(anew)} of the things to do here "
            f"({anew[0]}): expected --any-code to keep them, or --this-code to do them anew."
        )


def _wanted(
    suite: Suite, store: Store, chosen: list[Unit]
) -> Iterator[tuple[Unit, dict[tuple[str, int], int]]]:
    more = wanted_episodes(suite, compare_all(suite, store))
    for unit in chosen:
        yield (
            unit,
            {
                (row.name, nfe): more.get((unit.task.group, Side(row.name, nfe)), 0)
                or suite.evaluate.episodes
                for row, nfe in cells.variants(unit)
            },
        )


def wanted_episodes(suite: Suite, compared: list[Compared]) -> dict[tuple[str, Side], int]:
    """Return the episodes per training seed of the sides whose comparison is not yet sure."""
    wanted: dict[tuple[str, Side], int] = {}
    for result in compared:
        if result.estimate is None or result.against is None:
            continue
        enough = result.estimate.half_width <= suite.evaluate.half_width
        count = result.episodes + (0 if enough else suite.evaluate.episodes)
        for side in (result.comparison.candidate, result.against):
            key = result.group, side
            wanted[key] = max(wanted.get(key, 0), min(count, suite.evaluate.most_episodes))
    return wanted


def pending(
    suite: Suite, store: Store, unit: Unit, episodes: dict[tuple[str, int], int]
) -> list[str]:
    """Say in words which cells of a unit are missing."""
    training = cells.finished_training(suite, store, unit)
    if training is None:
        evaluated = [f"evaluate {unit} @{nfe}" for _, nfe in cells.variants(unit)]
        return [f"train {unit}", *evaluated] if cells.leads(suite, unit) else evaluated
    missing = []
    for row, nfe in cells.variants(unit):
        name = f"{unit.task.name}/{row.name}/{unit.seed} @{nfe}"
        inputs = cells.tuning_inputs(suite, unit, training, nfe)
        if row.tuned and store.read("tuning", inputs) is None:
            missing.append(f"tune {name}")
        inputs = cells.episodes_inputs(suite, unit, training, row, nfe)
        cell = store.read("episodes", inputs)
        done = 0 if cell is None else len(cell["seed"])
        if done < episodes[row.name, nfe]:
            missing.append(f"evaluate {name}" + (f" beyond {done} episodes" if done else ""))
        if cells.has_modes(unit, row):
            inputs = cells.modes_inputs(suite, unit, training, row, nfe)
            if store.read("modes", inputs) is None:
                missing.append(f"modes of {name}")
    return missing
