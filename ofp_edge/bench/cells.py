"""The cells of a suite: the inputs of each, derived from the content before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from ofp_edge.bench.store import Cell, Store
from ofp_edge.bench.suite import TIME, TWO_SIDED, Row, Suite, TaskEntry
from ofp_edge.errors import OfpError
from ofp_edge.evaluate.tuning import CHOSEN

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """One training and the rows that share it: the work of one process."""

    task: TaskEntry
    training: str
    seed: int
    rows: tuple[Row, ...]

    @property
    def method(self) -> str:
        """The method that its rows share."""
        return self.rows[0].method

    @property
    def options(self) -> dict[str, float]:
        """The options that its rows share."""
        return self.rows[0].options

    @property
    def row(self) -> Row:
        """The first of its rows: what it says of training, all of them do."""
        return self.rows[0]

    def __str__(self) -> str:
        return f"{self.task.name}/{'+'.join(row.name for row in self.rows)}/{self.seed}"


def units(suite: Suite, only: tuple[str, ...] = ()) -> list[Unit]:
    """Return every unit with a row that matches one of `only` (all units, if `only` is empty).
    Raises OfpError if there is none.

    A pattern is `task/row/seed` or the first parts of it, with * for anything.
    """
    found = []
    for seed in suite.seeds:  # every row once comes first, so that a first result is early
        for task in suite.tasks:
            shared: dict[str, list[Row]] = {}
            rows = [x for x in suite.rows if _wanted(f"{task.name}/{x.name}/{seed}", only)]
            for row in _with_starts(suite, rows):
                shared.setdefault(row.training, []).append(row)
            found += [Unit(task, name, seed, tuple(rows)) for name, rows in shared.items()]
    found = _with_leaders(suite, found)
    if not found:
        name = f"{suite.tasks[0].name}/{suite.rows[0].name}/{suite.seeds[0]}"
        raise OfpError(f"--only {' '.join(only)}: nothing matches. A name is {name}.")
    return found


def _with_starts(suite: Suite, rows: list[Row]) -> list[Row]:
    """These rows and those that they start from, in the suite's order; and what the reference
    starts from, where others are timed against it."""
    names = {row.name for row in rows}
    if suite.budget == TIME and rows:
        names |= {x for x in (suite.row(suite.reference or "").start,) if x is not None}
    while more := {suite.row(x).start for x in names} - names - {None}:
        names |= {x for x in more if x is not None}
    return [row for row in suite.rows if row.name in names]


def _with_leaders(suite: Suite, found: list[Unit]) -> list[Unit]:
    """These units, and of each policy that tasks share the one that trains it."""
    there = {(unit.training, unit.seed) for unit in found if leads(suite, unit)}
    more = {
        (unit.training, unit.seed): replace(unit, task=suite.tasks[0])
        for unit in found
        if (unit.training, unit.seed) not in there
    }
    return [*more.values(), *found]


def leads(suite: Suite, unit: Unit) -> bool:
    """Say whether a unit trains its policy: of tasks that share one, the first one's does."""
    return not unit.row.together or unit.task == suite.tasks[0]


def tasks_of(suite: Suite, unit: Unit) -> tuple[TaskEntry, ...]:
    """Return the tasks whose demonstrations this unit's policy is trained on."""
    return suite.tasks if unit.row.together else (unit.task,)


def start_of(suite: Suite, unit: Unit) -> Unit | None:
    """Return the unit whose policy this one starts from."""
    if unit.row.start is None:
        return None
    training = suite.row(unit.row.start).training
    rows = tuple(row for row in suite.rows if row.training == training)
    return Unit(unit.task, training, unit.seed, rows)


def reference_of(suite: Suite, unit: Unit) -> Unit:
    """Return the unit of the suite's reference on the same task, of the same seed."""
    training = suite.row(suite.reference or "").training
    rows = tuple(row for row in suite.rows if row.training == training)
    return Unit(unit.task, training, unit.seed, rows)


def _wanted(name: str, only: tuple[str, ...]) -> bool:
    return not only or any(fnmatchcase(name, p) or fnmatchcase(name, f"{p}/*") for p in only)


def dataset_inputs(suite: Suite, task: TaskEntry) -> Inputs:
    """Return the inputs of the demonstrations."""
    values = {"task": task.name, "observe": suite.observe, "demonstrations": task.demonstrations}
    size = None if suite.image_size is None else list(suite.image_size)
    more = {"noise": task.noise, "wander": task.wander, "image_size": size,
            "expert_sha256": task.expert_sha256}  # fmt: skip
    return {**values, **{name: value for name, value in more.items() if value is not None}}


def needs_timing(suite: Suite, unit: Unit) -> bool:
    """Say whether a timing run's figures set the unit's steps. The reference's steps are the
    task's, and a row may have its own."""
    return (
        suite.budget == TIME
        and unit.row.steps is None
        and unit.training != suite.row(suite.reference or "").training
    )


def timed(suite: Suite, unit: Unit) -> Unit:
    """Return the unit whose timing run sets this one's steps."""
    return replace(unit, task=suite.timed(unit.task))


def timing_inputs(suite: Suite, store: Store, unit: Unit) -> Inputs | None:
    """Return the inputs of the timing run that sets a row's steps; None before the dataset
    exists."""
    trained = _trained(suite, store, timed(suite, unit))
    reference = suite.row(suite.reference or "")
    return trained and {
        **trained,
        **_before(suite, unit.row),
        "reference": {
            "method": reference.method, "options": reference.options, **_before(suite, reference),
        },
    }  # fmt: skip


def _before(suite: Suite, row: Row) -> Inputs:
    """The trainings that a row goes on from: they decide what a step of it costs."""
    if not row.start:
        return {}
    start = suite.row(row.start)
    return {"start": start.training, **_before(suite, start)}


def training_inputs(suite: Suite, store: Store, unit: Unit) -> Inputs | None:
    """Return the inputs of the policy; None before everything that it needs exists."""
    trained = _trained(suite, store, unit)
    if trained is None:
        return None
    start: Inputs = {}
    if (before := start_of(suite, unit)) is not None:
        cell = finished_training(suite, store, before)
        if cell is None:
            return None
        start = {"start": cell["sha256"]}
    steps = unit.row.steps or unit.task.steps
    if needs_timing(suite, unit):
        timing = store.read("timing", timing_inputs(suite, store, unit) or {})
        if timing is None:
            return None
        steps = suite.row(suite.reference or "").steps or unit.task.steps
        steps = max(1, round(steps * timing["reference_s_per_step"] / timing["s_per_step"]))
    return {**trained, "seed": unit.seed, "steps": steps, **start}


def _trained(suite: Suite, store: Store, unit: Unit) -> Inputs | None:
    """What a training is of; None before its datasets are there."""
    tasks = tasks_of(suite, unit)
    datasets = [store.read("dataset", dataset_inputs(suite, task)) for task in tasks]
    if not all(datasets):
        return None
    names, shas = [task.name for task in tasks], [x["sha256"] for x in datasets if x]
    one = not unit.row.together
    return {
        "task": names[0] if one else "together",
        **({} if one else {"tasks": names}),
        "training": unit.training,
        "method": unit.method,
        "options": unit.options,
        "preset": suite.preset,
        "dataset": shas[0] if one else shas,
        "learning_rate": unit.task.learning_rate,
    }


def finished_training(suite: Suite, store: Store, unit: Unit) -> Cell | None:
    """Return the training's cell, or None until it is done."""
    inputs = training_inputs(suite, store, unit)
    cell = store.read("training", inputs) if inputs else None
    return cell if cell and cell["finished"] else None


def tuning_inputs(suite: Suite, unit: Unit, training: Cell, nfe: int) -> Inputs:
    """Return the inputs of the start that `tune` chooses at an nfe."""
    return {
        "task": unit.task.name,
        "training": unit.training,
        "seed": unit.seed,
        "weights": training["sha256"],
        "episodes": suite.evaluate.tuned_on,
        "nfe": nfe,
        "chooses": ", ".join(CHOSEN),
    }


def episodes_inputs(suite: Suite, unit: Unit, training: Cell, row: Row, nfe: int) -> Inputs:
    """Return the inputs of the closed-loop episodes of a row at an nfe."""
    return {
        "task": unit.task.name,
        "training": unit.training,
        "seed": unit.seed,
        "weights": training["sha256"],
        "nfe": nfe,
        "cold": row.cold,
        "guard": row.guard,
        "latency_ms": suite.evaluate.latency_ms,
        **_tuned(suite, row),
        **row.starts,
        **row.controls,
    }


def modes_inputs(suite: Suite, unit: Unit, training: Cell, row: Row, nfe: int) -> Inputs:
    """Return the inputs of the chunks whose side is counted."""
    return {
        "task": unit.task.name,
        "training": unit.training,
        "seed": unit.seed,
        "weights": training["sha256"],
        "nfe": nfe,
        "guard": row.guard,
        "chunks": suite.evaluate.chunks,
        **_tuned(suite, row),
        **row.starts,
    }


def _tuned(suite: Suite, row: Row) -> Inputs:
    if not row.tuned:
        return {}
    return {"tuned_on": suite.evaluate.tuned_on, "tuned": ", ".join(CHOSEN)}


def variants(unit: Unit) -> Iterator[tuple[Row, int]]:
    """Return the pairs (row, nfe) of a unit."""
    return ((row, nfe) for row in unit.rows for nfe in row.nfe)


def has_modes(unit: Unit, row: Row) -> bool:
    """Say whether a row's chunks have a side: on tasks of two, and shown what belongs to them."""
    return unit.task.group == TWO_SIDED and row.frames == row.words == "own"


def suite_json(suite: Suite) -> dict[str, Any]:
    """Return the suite as plain JSON, for the results."""
    return {**asdict(suite), "path": suite.path.name}
