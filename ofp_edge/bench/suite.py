"""The suite file: which methods are compared, on which tasks, how long and how often.

name = "small"
observe = "state"              # what the policies see: collect's --obs
preset = "small"
seeds = [0, 1, 2]              # training seeds
budget = "steps"               # every row trains `steps`; "time": as long as the reference
reference = "ofp-plus"         # takes for them: steps by a timing run at the start
[evaluate]
episodes = 100                 # a cell: task, row, nfe, training seed
most_episodes = 500            # compared cells: more rounds of `episodes`, while the
half_width = 0.025             # comparison's interval is wider than this
margin = 0.03                  # a candidate may be worse by this much
latency_ms = 0
chunks = 2000                  # two-sided tasks: chunks whose side is counted
[[tasks]]
name = "metaworld/door-open"
demonstrations = 50
steps = 4000
group = "standard"             # or "two-sided"; comparisons are pooled over a group
noise = 0.3                    # optional, as collect's; wander too
learning_rate = 2e-3           # optional, of every row; the preset's otherwise
[[rows]]
name = "ofp-plus"
method = "ofp-plus"
nfe = [1, 4]                   # network evaluations a chunk; the first is the row's own
options = { lambda_c = 0.0 }   # optional: the method's numbers
cold = false                   # optional: every chunk starts from noise
tuned = false                  # optional: t_w and noise as `tune` chooses them at each nfe
noise_cold = 1.0               # optional, and noise_warm and cold_nfe: the policy's own otherwise
guard = 1                      # optional: candidates of a guarded choice at a cold start
[[compare]]
candidate = ["ofp-plus", 1]    # row and nfe
against = ["flow", 100]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofp_edge.errors import SuiteError, UnknownName
from ofp_edge.toml import Table, read_toml

STANDARD, TWO_SIDED = "standard", "two-sided"
GROUPS = (STANDARD, TWO_SIDED)
STEPS, TIME = "steps", "time"
SHIPPED = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Evaluation:
    """The table [evaluate]; see the file's form above. `half_width` and `margin` are shares of the
    episodes."""

    episodes: int
    most_episodes: int
    half_width: float
    margin: float
    latency_ms: float
    chunks: int


@dataclass(frozen=True)
class TaskEntry:
    """One entry of [[tasks]]. Where a number is None, `noise` and `wander` are `collect`'s, and
    `learning_rate` is the preset's."""

    name: str
    demonstrations: int
    steps: int
    group: str
    noise: float | None = None
    wander: int | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class Row:
    """One entry of [[rows]]: a method, how it is trained and how it is run."""

    name: str
    method: str
    nfe: tuple[int, ...]
    options: dict[str, float] = field(default_factory=dict)
    cold: bool = False
    tuned: bool = False
    guard: int = 1
    noise_cold: float | None = None
    noise_warm: float | None = None
    cold_nfe: int | None = None

    @property
    def starts(self) -> dict[str, Any]:
        """Return what is given of how chunks start."""
        given = {x: getattr(self, x) for x in ("noise_cold", "noise_warm", "cold_nfe")}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def training(self) -> str:
        """The method and the options that are given; rows of the same training share them."""
        return " ".join([self.method, *(f"{k}={v:g}" for k, v in sorted(self.options.items()))])


@dataclass(frozen=True)
class Side:
    """A row at a number of network evaluations."""

    row: str
    nfe: int

    def __str__(self) -> str:
        return f"{self.row} @{self.nfe}"


@dataclass(frozen=True)
class Comparison:
    """The question whether `candidate` is at least as good as `against`."""

    candidate: Side
    against: Side


@dataclass(frozen=True)
class Suite:
    """A suite file, which is checked in itself; `ofp_edge.bench.check` checks its names."""

    path: Path
    name: str
    observe: str
    preset: str
    seeds: tuple[int, ...]
    budget: str
    reference: str | None
    evaluate: Evaluation
    tasks: tuple[TaskEntry, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]

    def row(self, name: str) -> Row:
        """Return the row of this name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have tasks."""
        return tuple(g for g in GROUPS if any(task.group == g for task in self.tasks))


def find_suite(name: str) -> Path:
    """Find a suite file by its path, or a shipped one by its name. Raises UnknownName that lists
    the shipped ones."""
    if Path(name).is_file():
        return Path(name)
    shipped = SHIPPED / f"{name}.toml"
    if not shipped.is_file():
        known = [path.stem for path in SHIPPED.glob("*.toml")]
        raise UnknownName("suite (a shipped name or a .toml file)", name, known)
    return shipped


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
    )
    if entry.group not in GROUPS:
        raise SuiteError(f"{table.path}: {table.where('group')}: {_unknown(entry.group, GROUPS)}")
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
        _number(table, "noise_cold"),
        _number(table, "noise_warm"),
        table.count("cold_nfe", 1) if "cold_nfe" in table.values else None,
    )
    if not row.name or set(row.name) & set("/*?[] @|"):
        raise SuiteError(
            f"{table.path}: {table.where('name')}: expected a word without / * ? [ ] @ | or space, "
            f"got {row.name!r}."
        )
    if row.tuned and (row.cold or "noise_cold" in row.starts or "noise_warm" in row.starts):
        raise SuiteError(
            f"{table.path}: {table.where('tuned')}: `tune` chooses t_w and noise: give tuned, or "
            "cold and noise."
        )
    table.nothing_left()
    return row


def _comparison(table: Table) -> Comparison:
    sides = []
    for key in ("candidate", "against"):
        value: Any = table.take(key, list)
        if [type(x) for x in value] != [str, int]:
            raise SuiteError(
                f"{table.path}: {table.where(key)}: expected a row and its nfe, such as "
                f'["flow", 100], got {value!r}.'
            )
        sides.append(Side(*value))
    table.nothing_left()
    return Comparison(*sides)


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
    if suite.reference is not None and suite.reference not in rows:
        raise SuiteError(f"{suite.path}: reference: {_unknown(suite.reference, rows)}")
    for comparison in suite.comparisons:
        for side in (comparison.candidate, comparison.against):
            if side.row not in rows:
                raise SuiteError(f"{suite.path}: [[compare]]: {_unknown(side.row, rows)}")
            if side.nfe not in rows[side.row].nfe:
                raise SuiteError(
                    f"{suite.path}: [[compare]]: row {side.row!r} is evaluated at nfe "
                    f"{list(rows[side.row].nfe)}, not {side.nfe}."
                )
        if comparison.candidate == comparison.against:
            raise SuiteError(f"{suite.path}: [[compare]]: {comparison.candidate} against itself.")


def _unknown(got: str, known: Any) -> str:
    return str(UnknownName("name", got, known)) + "."
