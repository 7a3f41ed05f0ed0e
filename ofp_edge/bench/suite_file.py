"""A suite file, read and checked in itself: the first wrong entry is named in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofp_edge.bench.suite import (
    GROUPS,
    STANDARD,
    STEPS,
    TIME,
    Comparison,
    Evaluation,
    Row,
    Side,
    Suite,
    TaskEntry,
)
from ofp_edge.errors import SuiteError, UnknownName
from ofp_edge.evaluate.tuning import CHOSEN
from ofp_edge.toml import Table, read_toml


def read_suite(path: Path) -> Suite:
    """Parse and check a suite file. Raises SuiteError that names the wrong entry."""
    table = read_toml(path, SuiteError)
    given = table.sub("evaluate", optional=True)
    episodes = given.count("episodes", 100)
    evaluate = Evaluation(
        episodes,
        given.count("most_episodes", episodes, least=episodes),
        given.positive("half_width", 0.025),
        given.positive("margin", 0.03),
        given.positive("latency_ms", 0.0, allow_zero=True),
        given.count("chunks", 2000),
        given.count("tuned_on", episodes),
    )
    given.nothing_left()
    suite = Suite(
        path,
        table.take("name", str),
        table.take("observe", str),
        table.take("preset", str),
        _whole(table, "seeds", least=0),
        table.take("budget", str, STEPS),
        table.take("reference", str, "") or None,
        evaluate,
        tuple(_task(entry) for entry in table.each("tasks")),
        tuple(_row(entry) for entry in table.each("rows")),
        tuple(_comparison(entry) for entry in table.each("compare", optional=True)),
        _size(table),
        table.take("timed_on", str, "") or None,
    )
    table.nothing_left()
    _check(suite)
    return suite


def _task(table: Table) -> TaskEntry:
    entry = TaskEntry(
        table.take("name", str),
        table.count("demonstrations", 50, least=2),
        table.count("steps"),
        table.take("group", str, STANDARD),
        table.positive("noise", allow_zero=True) if "noise" in table.values else None,
        table.count("wander", least=0) if "wander" in table.values else None,
        table.positive("learning_rate") if "learning_rate" in table.values else None,
        table.take("expert", str, "") or None,
        table.take("expert_sha256", str, "") or None,
    )
    if entry.group not in GROUPS:
        raise SuiteError(f"{table.path}: {table.where('group')}: {_unknown(entry.group, GROUPS)}")
    if entry.expert is not None and Path(entry.expert).name != entry.expert:
        raise SuiteError(
            f"{table.path}: {table.where('expert')}: expected the name of a file, got "
            f"{entry.expert!r}. Give its folder as --experts."
        )
    if (entry.expert is None) != (entry.expert_sha256 is None):
        raise SuiteError(
            f"{table.path}: {table.where('expert')}: give expert and expert_sha256 together."
        )
    table.nothing_left()
    return entry


def _row(table: Table) -> Row:
    options = table.take("options", dict, {})
    for name, value in options.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            where = table.where(f"options.{name}")
            raise SuiteError(f"{table.path}: {where}: expected a number, got {value!r}.")
    row = Row(
        table.take("name", str),
        table.take("method", str),
        _whole(table, "nfe", least=1),
        {name: float(value) for name, value in options.items()},
        table.take("cold", bool, False),
        table.take("tuned", bool, False),
        table.count("guard", 1),
        _number(table, "t_w"),
        table.take("warm_step", str, "") or None,
        _number(table, "noise_cold"),
        _number(table, "noise_warm"),
        table.count("cold_nfe", 1) if "cold_nfe" in table.values else None,
        table.take("start", str, "") or None,
        table.count("steps") if "steps" in table.values else None,
        table.take("together", bool, False),
        _number(table, "color_jitter"),
        table.count("shift_px", least=0) if "shift_px" in table.values else None,
        _whose(table, "frames"),
        _whose(table, "words"),
    )
    if not row.name or set(row.name) & set("/*?[] @|"):
        raise SuiteError(
            f"{table.path}: {table.where('name')}: expected a word without / * ? [ ] @ | or space, "
            f"got {row.name!r}."
        )
    if row.tuned and (row.cold or set(row.starts) & set(CHOSEN)):
        raise SuiteError(
            f"{table.path}: {table.where('tuned')}: `tune` chooses t_w and noise: give tuned, or "
            "cold, t_w and noise."
        )
    if row.together and (row.start is not None or row.steps is None):
        raise SuiteError(
            f"{table.path}: {table.where('together')}: one policy for all tasks starts from none "
            "and needs steps of its own: give steps, and no start."
        )
    table.nothing_left()
    return row


def _comparison(table: Table) -> Comparison:
    candidate = _side(table, "candidate")
    best = table.values.get("against") == "best"
    against = None if best else _side(table, "against")
    if best:
        table.take("against", str)
    table.nothing_left()
    return Comparison(candidate, against)


def _side(table: Table, key: str) -> Side:
    value: Any = table.take(key, list)
    if [type(x) for x in value] != [str, int]:
        raise SuiteError(
            f"{table.path}: {table.where(key)}: expected a row and its nfe, such as "
            f'["flow", 100], got {value!r}.'
        )
    return Side(*value)


def _size(table: Table) -> tuple[int, int] | None:
    if "image_size" not in table.values:
        return None
    value: Any = table.take("image_size", list)
    if len(value) != 2 or not all(type(x) is int and x > 0 for x in value):
        raise SuiteError(
            f"{table.path}: image_size: expected height and width, as [48, 64], got {value!r}."
        )
    return value[0], value[1]


def _whose(table: Table, key: str) -> Any:
    value = table.take(key, str, "own")
    if value not in ("own", "other"):
        raise SuiteError(f"{table.path}: {table.where(key)}: {_unknown(value, ('own', 'other'))}")
    return value


def _number(table: Table, key: str) -> float | None:
    return table.positive(key, allow_zero=True) if key in table.values else None


def _whole(table: Table, key: str, *, least: int) -> tuple[int, ...]:
    """Read a list of different whole numbers that is not empty."""
    values = table.take(key, list)
    good = values and all(type(x) is int and x >= least for x in values)
    if not good or len(set(values)) != len(values):
        raise SuiteError(
            f"{table.path}: {table.where(key)}: expected different whole numbers from {least} on, "
            f"got {values!r}."
        )
    return tuple(values)


def _check(suite: Suite) -> None:
    for what, names in (
        ("tasks", [task.name for task in suite.tasks]),
        ("rows", [row.name for row in suite.rows]),
    ):
        for name in names:
            if names.count(name) > 1:
                raise SuiteError(f"{suite.path}: [[{what}]]: {name!r} is there twice.")
    if suite.budget not in (STEPS, TIME):
        raise SuiteError(f"{suite.path}: budget: {_unknown(suite.budget, (STEPS, TIME))}")
    rows = {row.name: row for row in suite.rows}
    if suite.budget == TIME and suite.reference is None:
        raise SuiteError(f'{suite.path}: reference: missing; budget = "time" needs a row.')
    if suite.timed_on is not None:
        _check_timed_on(suite)
    if suite.reference is not None and suite.reference not in rows:
        raise SuiteError(f"{suite.path}: reference: {_unknown(suite.reference, rows)}")
    shared = [row.name for row in suite.rows if row.together]
    if shared and len({task.learning_rate for task in suite.tasks}) > 1:
        raise SuiteError(
            f"{suite.path}: row {shared[0]!r}: together: its tasks have several learning rates. "
            "Give all tasks one, or none."
        )
    if suite.reference is not None and rows[suite.reference].together:
        raise SuiteError(f"{suite.path}: reference: expected a row of one task, not together.")
    for row in suite.rows:
        names = [row.name]
        while (start := rows[names[-1]].start) is not None:
            if start not in rows:
                raise SuiteError(f"{suite.path}: row {names[-1]!r}: start: {_unknown(start, rows)}")
            if start in names:
                raise SuiteError(f"{suite.path}: row {start!r}: start: it starts from itself.")
            if rows[start].together:
                raise SuiteError(f"{suite.path}: row {names[-1]!r}: start: {start!r} is together.")
            names.append(start)
    for comparison in suite.comparisons:
        for side in (comparison.candidate, comparison.against):
            if side is None:
                continue
            if side.row not in rows:
                raise SuiteError(f"{suite.path}: [[compare]]: {_unknown(side.row, rows)}")
            if side.nfe not in rows[side.row].nfe:
                raise SuiteError(
                    f"{suite.path}: [[compare]]: row {side.row!r} is evaluated at nfe "
                    f"{list(rows[side.row].nfe)}, not {side.nfe}."
                )
        if comparison.candidate == comparison.against:
            raise SuiteError(f"{suite.path}: [[compare]]: {comparison.candidate} against itself.")
        own = rows[comparison.candidate.row].method
        if comparison.against is None and all(row.method == own for row in suite.rows):
            raise SuiteError(
                f'{suite.path}: [[compare]]: against = "best": every row has the method {own}.'
            )


def _unknown(got: str, known: Any) -> str:
    return str(UnknownName("name", got, known)) + "."


def _check_timed_on(suite: Suite) -> None:
    where = f"{suite.path}: timed_on"
    names = [task.name for task in suite.tasks]
    if suite.timed_on not in names:
        raise SuiteError(f"{where}: {_unknown(suite.timed_on or '', names)}")
    if suite.budget != TIME:
        raise SuiteError(f'{where}: only budget = "time" has timing runs. Leave it out.')
    if started := next((row.name for row in suite.rows if row.start is not None), None):
        raise SuiteError(
            f"{where}: row {started} starts from another one's policy, so it is timed on each "
            "task. Leave it out."
        )
