"""What happened in a run, as arrays, read from its log: for pages and plots. Old logs too."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.log.numbers import names_in
from ofp_edge.runtime.log.reader import LogReader, Row
from ofp_edge.runtime.log.rows import decided_of, row_of
from ofp_edge.runtime.log.telemetry import array_from_json
from ofp_edge.spec import PolicySpec

_MOST_PICTURES = 48
_WIDEST = 1024
_TOPICS = ("/command", "/plan", "/event", "/thumbnail/")


@dataclass(frozen=True)
class TickRow:
    """What is shown of one row of /command."""

    tick_ns: int
    kind: str
    action: Any
    heard: tuple[Any, ...]
    misses: int
    woke_ns: int | None = None
    t_obs_ns: int | None = None
    wanted: Any = None
    cut: tuple[str, ...] = ()
    sent: bool = True


@dataclass(frozen=True)
class PlanShown:
    """What is shown of one row of /plan."""

    t_obs_ns: int
    ready_ns: int
    chunk: Any
    due_ns: int | None = None
    act_ns: int | None = None


@dataclass(frozen=True)
class EventShown:
    """What is shown of one row of /event."""

    t_ns: int
    what: str
    detail: str


@dataclass(frozen=True)
class Plan:
    """A plan. t_s: when what it was made from was seen; ready_ms, due_ms: later than that. actions:
    (steps, action_dim) from the observation on."""

    t_s: float
    ready_ms: float
    due_ms: float | None
    actions: NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """A camera's small picture: (H, W, 3) uint8, or (H, W) uint16 raw depth."""

    t_s: float
    pixels: NDArray[Any]


@dataclass
class Story:
    """A run, of n ticks. Times are seconds since the first tick. states: by field (n, D); wanted
    and sent: (n, action_dim), raw; NaN where there is none. kinds: of each tick; limits: those that
    changed its command."""

    spec: PolicySpec
    header: Row
    names: dict[str, list[str]]
    t_s: NDArray[np.float64]
    kinds: list[str]
    states: dict[str, NDArray[np.float64]]
    wanted: NDArray[np.float64]
    sent: NDArray[np.float64]
    late_us: NDArray[np.float64]
    limits: list[tuple[str, ...]]
    misses: NDArray[np.int64]
    plans: list[Plan]
    events: list[tuple[float, str, str]]
    pictures: dict[str, list[Picture]]
    latency_ms: float
    missing_rows: int
    whole: bool

    @property
    def cut(self) -> NDArray[np.bool_]:
        """Whether a limit changed a tick's command, (n,)."""
        return np.array([bool(x) for x in self.limits])

    @property
    def cuts(self) -> Counter[str]:
        """How often each limit did."""
        return Counter(name for names in self.limits for name in names)

    @property
    def seconds(self) -> float:
        """How long the run took, from its first tick to its last."""
        return float(self.t_s[-1]) if len(self.t_s) else 0.0

    def between(self, start_s: float, end_s: float) -> Story:
        """Return the part of the run from one moment to another. OfpError where no tick is left."""
        kept = (self.t_s >= start_s) & (self.t_s <= end_s)
        if not kept.any():
            raise OfpError(
                f"no tick lies between {start_s:g} s and {end_s:g} s: the run takes "
                f"{self.seconds:.4g} s."
            )

        def within(t_s: float) -> bool:
            return start_s <= t_s <= end_s

        numbers = np.flatnonzero(kept).tolist()
        pictures = {k: [x for x in v if within(x.t_s)] for k, v in self.pictures.items()}
        return Story(
            self.spec, self.header, self.names, self.t_s[kept],
            [self.kinds[i] for i in numbers],
            {name: x[kept] for name, x in self.states.items()},
            self.wanted[kept], self.sent[kept], self.late_us[kept],
            [self.limits[i] for i in numbers],
            self.misses[kept], [x for x in self.plans if within(x.t_s)],
            [x for x in self.events if within(x[0])], pictures, self.latency_ms,
            self.missing_rows, self.whole,
        )  # fmt: skip


@dataclass
class _Rows:
    ticks: list[TickRow] = field(default_factory=list)
    plans: list[PlanShown] = field(default_factory=list)
    events: list[EventShown] = field(default_factory=list)
    pictures: dict[str, list[tuple[int, NDArray[Any]]]] = field(default_factory=dict)
    every: dict[str, int] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)


def read_story(path: Path, progress: Progress = silent) -> Story:
    """Read a log. OfpError, one line, where it is none, or holds no tick."""
    reader = LogReader(path)
    run = decided_of(reader.header, str(path))
    rows = _Rows()
    read = 0
    for count, (topic, row) in enumerate(reader.rows(*_TOPICS)):
        if count % 500 == 0:
            progress(count, max(count, 1), "rows")
        what = f"{path}: a row of {topic}"
        if topic == "/command":
            rows.ticks.append(row_of(TickRow, row, what))
        elif topic == "/plan":
            rows.plans.append(row_of(PlanShown, row, what))
        elif topic == "/event":
            rows.events.append(row_of(EventShown, row, what))
        elif topic.startswith("/thumbnail/"):
            _keep(rows, topic.removeprefix("/thumbnail/"), row, what)
        read = count + 1
    progress(read, max(read, 1), "rows")
    if not rows.ticks:
        raise OfpError(f"{path}: the run has not made one tick.")
    names = _names(reader.header, run.spec)
    return _story(rows, run.spec, run.latency_ms, names, reader)


def _story(
    rows: _Rows, spec: PolicySpec, latency_ms: float, names: dict[str, list[str]], reader: LogReader
) -> Story:
    first_ns, count = rows.ticks[0].tick_ns, len(rows.ticks)
    wanted, sent = (np.full((count, spec.action_dim), np.nan) for _ in range(2))
    states = {f.name: np.full((count, f.shape[0]), np.nan) for f in spec.states}
    for number, row in enumerate(rows.ticks):
        what = f"{reader.path}: tick {row.tick_ns}"
        _fill(wanted[number], row.wanted, f"{what}: wanted")
        if row.sent:
            _fill(sent[number], row.action, f"{what}: action")
        for heard in row.heard:
            if isinstance(heard, dict) and heard.get("event") == "state":
                values = heard.get("values")
                for name, into in states.items():
                    said = values.get(name) if isinstance(values, dict) else None
                    _fill(into[number], said, f"{what}: state {name!r}")
    plans = []
    for plan in rows.plans:
        chunk = array_from_json(plan.chunk, f"{reader.path}: the plan of {plan.t_obs_ns}")
        if chunk.shape != (spec.horizon, spec.action_dim):
            raise OfpError(
                f"{reader.path}: the plan of {plan.t_obs_ns}: expected "
                f"{(spec.horizon, spec.action_dim)}, got {chunk.shape}."
            )
        seen = plan.t_obs_ns
        due_ms = None if plan.due_ns is None else (plan.due_ns - seen) / 1e6
        t_s, ready_ms = (seen - first_ns) / 1e9, (plan.ready_ns - seen) / 1e6
        plans.append(Plan(t_s, ready_ms, due_ms, chunk[spec.start_index :]))
    pictures = {
        camera: [Picture((t_ns - first_ns) / 1e9, x) for t_ns, x in found]
        for camera, found in rows.pictures.items()
    }
    late = [np.nan if x.woke_ns is None else (x.woke_ns - x.tick_ns) / 1e3 for x in rows.ticks]
    return Story(
        spec, reader.header, names,
        np.array([(x.tick_ns - first_ns) / 1e9 for x in rows.ticks]),
        [x.kind for x in rows.ticks], states, wanted, sent, np.array(late),
        [x.cut for x in rows.ticks],
        np.array([x.misses for x in rows.ticks], np.int64), plans,
        [((x.t_ns - first_ns) / 1e9, x.what, x.detail) for x in rows.events], pictures,
        latency_ms, sum(reader.missing.values()), reader.whole,
    )  # fmt: skip


def _fill(into: NDArray[np.float64], value: Any, what: str) -> None:
    """Copy a logged array; what a driver said that is no such array leaves NaN."""
    if value is None:
        return
    try:
        said = array_from_json(value, what)
    except OfpError:
        return
    if said.shape == into.shape and said.dtype.kind in "fiu":
        into[...] = said


def _names(header: Row, spec: PolicySpec) -> dict[str, list[str]]:
    """The header's names, where they are names of the spec's fields; else the default ones."""
    plain, said = names_in(spec, None), header.get("names")
    for name, own in plain.items():
        found = said.get(name) if isinstance(said, dict) else None
        if isinstance(found, list) and len(found) == len(own):
            plain[name] = [str(x)[:64] for x in found]
    return plain


def _keep(rows: _Rows, camera: str, row: Row, what: str) -> None:
    """Keep at most so many pictures of a camera, evenly over the run."""
    kept, every = rows.pictures.setdefault(camera, []), rows.every.setdefault(camera, 1)
    rows.seen[camera] += 1
    if (rows.seen[camera] - 1) % every:
        return
    stamp = row.get("timestamp")
    if isinstance(stamp, dict) and all(isinstance(stamp.get(x), int) for x in ("sec", "nsec")):
        t_ns = stamp["sec"] * 10**9 + stamp["nsec"]
        kept.append((t_ns, _pixels(row, what)))
    if len(kept) > _MOST_PICTURES:
        del kept[1::2]
        rows.every[camera] = 2 * every


def _pixels(row: Row, what: str) -> NDArray[Any]:
    form = {"rgb8": ("u1", 3), "16UC1": ("<u2", 1)}.get(str(row.get("encoding")))
    width: Any = row.get("width")
    height: Any = row.get("height")
    data: Any = row.get("data")
    whole = isinstance(width, int) and isinstance(height, int) and isinstance(data, str)
    if form is None or not whole or not (0 < width <= _WIDEST and 0 < height <= _WIDEST):
        raise OfpError(f"{what}: expected a small picture, rgb8 or 16UC1.")
    dtype, channels = form
    try:
        made = base64.b64decode(data, validate=True)
    except ValueError as cause:
        raise OfpError(f"{what}: its data are no base64: {cause}.") from None
    if len(made) != width * height * channels * np.dtype(dtype).itemsize:
        raise OfpError(f"{what}: {len(made)} bytes are no {width} x {height} picture.")
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.frombuffer(made, dtype).reshape(shape)
