"""The suite file: which methods are compared, on which tasks, how long and how often.

name = "small"
observe = "state"              # what the policies see: collect's --obs
image_size = [48, 64]          # optional: height and width of images, pixels
preset = "small"
seeds = [0, 1, 2]              # training seeds
budget = "steps"               # every row trains `steps`; "time": as long as the reference
reference = "ofp-plus"         # takes for them: steps by a timing run at the start
timed_on = "metaworld/reach"   # optional: of this task alone, where all have the same sizes
[evaluate]
episodes = 100                 # a cell: task, row, nfe, training seed
most_episodes = 500            # compared cells: more rounds of `episodes`, while the
half_width = 0.025             # comparison's interval is wider than this
margin = 0.03                  # a candidate may be worse by this much
latency_ms = 0
tuned_on = 40                  # optional: validation episodes of a tuned row; `episodes` otherwise
chunks = 2000                  # two-sided tasks: chunks whose side is counted
[[tasks]]
name = "metaworld/door-open"
demonstrations = 50
steps = 4000
group = "standard"             # or "two-sided"; comparisons are pooled over a group
noise = 0.3                    # optional, as collect's; wander too
learning_rate = 2e-3           # optional, of every row; the preset's otherwise
expert = "door-v0.pickle"      # where a task has none of its own: a file in the folder --experts,
expert_sha256 = "288d..."      # and what it has to hold
[[rows]]
name = "ofp-plus"
method = "ofp-plus"
nfe = [1, 4]                   # network evaluations a chunk; the first is the row's own
options = { lambda_c = 0.0 }   # optional: the method's numbers
start = "flow"                 # optional: goes on from this row's policy of the same seed, which it
                               # distils if that takes many steps
steps = 15000                  # optional, of this row, whatever the budget; the task's otherwise
together = false               # optional: one policy for all tasks, told which (train --instructed)
color_jitter = 0.2             # optional, and shift_px, as train's; the preset's otherwise
frames = "other"               # optional: a control, shown another episode's images;
words = "other"                # optional: or told another instruction
cold = false                   # optional: every chunk starts from noise
tuned = false                  # optional: t_w and noise as `tune` chooses them at each nfe
t_w = 0.3                      # optional, and warm_step, noise_cold, noise_warm and cold_nfe: the
                               # policy's own otherwise
guard = 1                      # optional: candidates of a guarded choice at a cold start
[[compare]]
candidate = ["ofp-plus", 1]    # row and nfe
against = ["flow", 100]        # or "best": the best row of any other method
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ofp_edge.errors import UnknownName

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
    tuned_on: int


@dataclass(frozen=True)
class TaskEntry:
    """One entry of [[tasks]]. Where a number is None, `noise` and `wander` are `collect`'s, and
    `learning_rate` is the preset's. `expert` is the name of a file, for a task without one of its
    own."""

    name: str
    demonstrations: int
    steps: int
    group: str
    noise: float | None = None
    wander: int | None = None
    learning_rate: float | None = None
    expert: str | None = None
    expert_sha256: str | None = None


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
    t_w: float | None = None
    warm_step: str | None = None
    noise_cold: float | None = None
    noise_warm: float | None = None
    cold_nfe: int | None = None
    start: str | None = None
    steps: int | None = None
    together: bool = False
    color_jitter: float | None = None
    shift_px: int | None = None
    frames: Literal["own", "other"] = "own"
    words: Literal["own", "other"] = "own"

    @property
    def controls(self) -> dict[str, Any]:
        """Return what it sees, or is told, that is another episode's."""
        return {x: "other" for x in ("frames", "words") if getattr(self, x) == "other"}

    @property
    def starts(self) -> dict[str, Any]:
        """Return what is given of how chunks start."""
        names = ("t_w", "warm_step", "noise_cold", "noise_warm", "cold_nfe")
        given = {x: getattr(self, x) for x in names}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def augmentation(self) -> dict[str, Any]:
        """Return what is given of how training changes images."""
        given = {x: getattr(self, x) for x in ("color_jitter", "shift_px")}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def training(self) -> str:
        """The method and all that is given of training; rows of the same training share it."""
        given = [f"{k}={v:g}" for k, v in sorted(self.options.items())]
        given += [f"start={self.start}"] if self.start else []
        given += [f"steps={self.steps}"] if self.steps else []
        given += ["together"] if self.together else []
        given += [f"{k}={v:g}" for k, v in self.augmentation.items()]
        return " ".join([self.method, *given])


@dataclass(frozen=True)
class Side:
    """A row at a number of network evaluations."""

    row: str
    nfe: int

    def __str__(self) -> str:
        return f"{self.row} @{self.nfe}"


@dataclass(frozen=True)
class Comparison:
    """The question whether `candidate` is at least as good as `against`; None: as whichever row of
    another method, at whichever nfe, has the highest mean success in the group."""

    candidate: Side
    against: Side | None


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
    image_size: tuple[int, int] | None = None
    timed_on: str | None = None

    def row(self, name: str) -> Row:
        """Return the row of this name."""
        return next(row for row in self.rows if row.name == name)

    def timed(self, task: TaskEntry) -> TaskEntry:
        """Return the task whose timing run sets the steps of trainings on this one."""
        return next((x for x in self.tasks if x.name == self.timed_on), task)

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
