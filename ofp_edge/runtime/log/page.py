"""A run on one page: what the robot was told and did, plans, latency, cuts, pictures, events."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.report.bars import Bar, bar_chart
from ofp_edge.report.html import facts, flat, page, table
from ofp_edge.report.lines import COLOURS, Line, legend, lines
from ofp_edge.report.png import data_uri
from ofp_edge.report.strip import Row, strip
from ofp_edge.report.svg import histogram
from ofp_edge.runtime.log.story import Story
from ofp_edge.spec import ActionField
from ofp_edge.unit_text import scaled, stated

_POINTS, _PLANS, _PICTURES, _EVENTS, _DIMENSIONS = 700, 60, 12, 60, 24
_SENT, _WANTED, _STATE, _PLAN = COLOURS[0], COLOURS[1], COLOURS[2], "#8b93a0"
_LEFT_OUT = ("spec", "names", "safety", "series")
_KIND_COLOURS = {"act": COLOURS[0], "hold": COLOURS[1], "stop": COLOURS[4]}


def render_run(story: Story, path: Path) -> str:
    """Return the whole document."""
    return page(
        f"{path.name} · a run",
        [
            f"<h1>{escape(path.name)}</h1><p class='sub'>{escape(_about(story))}</p>",
            _tiles(story),
            *(f"<p class='note'>{escape(line)}</p>" for line in _notes(story)),
            _course(story),
            _actions(story),
            _states(story),
            _latency(story),
            _cuts(story),
            _pictures(story),
            _events(story),
            _run(story),
        ],
    )


def _about(story: Story) -> str:
    header = story.header
    words = [str(header.get(key, "")) for key in ("engine", "precision")]
    rate = f"{story.spec.control_hz:g} Hz, L = {story.latency_ms:g} ms"
    bundle = str(header.get("bundle_sha256", ""))[:12]
    return " · ".join([*filter(None, words), rate, f"bundle {bundle}…"])


def _tiles(story: Story) -> str:
    kinds = story.kinds
    late = sum(1 for x in story.plans if x.due_ms is not None and x.ready_ms > x.due_ms)
    ready = [x.ready_ms for x in story.plans]
    middle = f"{np.median(ready):.3g} ms" if ready else "–"
    rows = (
        ("duration", f"{story.t_s[-1] - story.t_s[0]:.4g} s", f"{len(kinds)} ticks"),
        ("held", str(kinds.count("hold")), "ticks without a plan young enough"),
        ("limited", f"{100 * story.cut.mean():.3g} %", "of the commands, by the safety layer"),
        ("plans", str(len(story.plans)), f"{late} after their time"),
        ("capture to ready", middle, f"the median; L = {story.latency_ms:g} ms"),
    )
    tiles = "".join(
        f"<div class='tile'><div class='what'>{what}</div><div class='big'>{escape(big)}</div>"
        f"<div class='small'>{escape(small)}</div></div>"
        for what, big, small in rows
    )
    return f"<div class='tiles'>{tiles}</div>"


def _notes(story: Story) -> list[str]:
    notes = [f"{what}: {detail}" for _, what, detail in story.events if what == "fault"]
    if not story.whole:
        notes.append("The log has no end: the run was killed, or its disk was full.")
    if story.missing_rows:
        notes.append(f"{story.missing_rows} rows are not in the log.")
    return notes


def _course(story: Story) -> str:
    """Which ticks acted, held and were limited, when plans were late, when episodes began."""
    edges = np.append(story.t_s, story.t_s[-1] + story.spec.dt_s)
    kinds = np.array(story.kinds)
    rows = [
        Row(kind, _spans(edges, kinds == kind), colour) for kind, colour in _KIND_COLOURS.items()
    ]
    rows.append(Row("limited", _spans(edges, story.cut), COLOURS[3]))
    late = np.diff(story.misses, prepend=story.misses[0]) > 0
    rows.append(Row("late plan", _spans(edges, late), COLOURS[7]))
    began = [t for t, what, _ in story.events if what == "episode"]
    rows = [row for row in rows if row.spans]
    drawn = strip(rows, float(edges[0]), float(edges[-1]), "s", marks=began, title="The run")
    said = "Lines are the beginnings of episodes." if began else ""
    return f"<h2>Course</h2>{drawn}<p class='caption'>{said}</p>"


def _spans(edges: NDArray[np.float64], where: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Runs of ticks in a row, from the first one's beginning to the last one's end."""
    flank = np.diff(np.concatenate([[0], where.astype(np.int8), [0]]))
    first, end = np.flatnonzero(flank == 1), np.flatnonzero(flank == -1)
    return [(float(edges[a]), float(edges[b])) for a, b in zip(first, end, strict=True)]


def _actions(story: Story) -> str:
    parts, first, drawn = [], 0, list[Line]()
    for action in story.spec.actions:
        measured = _measured(story, action)
        own = stated(action.unit)
        plots: list[str] = []
        for number, name in enumerate(story.names[action.name]):
            if len(plots) == _DIMENSIONS:
                break
            found = _plans(story, first + number)
            found += _course_of(story, "wanted", story.wanted[:, first + number], _WANTED, True)
            found += _course_of(story, "sent", story.sent[:, first + number], _SENT)
            if measured is not None:
                found += _course_of(story, "state", measured[:, number], _STATE)
            drawn += found
            title = f"{action.name} {name}" if len(story.names[action.name]) > 1 else action.name
            unit = own if action.kind == "absolute" else "raw"
            plots.append(_plot(found, title, unit))
        first += action.shape[0]
        if action.kind != "absolute":
            said = f"{action.kind}, raw {scaled(action.unit, action.scale)}"
        else:
            said = f"in {own}" if own else "of no stated unit"
        parts.append(f"<h3>{escape(action.name)}: {escape(said)}</h3>{_pairs(plots)}")
    shown = f" {_PLANS} of {len(story.plans)} plans." if len(story.plans) > _PLANS else ""
    return (
        f"<h2>Commands</h2>{''.join(parts)}{legend(drawn)}<p class='caption'>Wanted is what the "
        f"plans said at the tick, sent what the safety layer made of it.{shown}</p>"
    )


def _measured(story: Story, action: ActionField) -> NDArray[np.float64] | None:
    """Where the robot was, in an absolute action's own numbers: the state that its limits name,
    else the only one of as many."""
    size = action.shape[0]
    if action.kind != "absolute":
        return None
    limits: Any = story.header.get("safety")
    own = limits.get("limits", {}).get(action.name) if isinstance(limits, dict) else None
    if isinstance(own, dict) and isinstance(name := own.get("measured"), str):
        offset = own.get("measured_offset", 0)
        found = story.states.get(name)
        if found is not None and isinstance(offset, int) and offset + size <= found.shape[1]:
            return found[:, offset : offset + size]
    alike = [x for x in story.states.values() if x.shape[1] == size]
    return alike[0] if len(alike) == 1 else None


def _states(story: Story) -> str:
    parts = []
    for field in story.spec.states:
        values, names = story.states[field.name], story.names[field.name]
        plots = [
            _plot(_course_of(story, name, values[:, number], _STATE), f"{field.name} {name}", "")
            for number, name in enumerate(names[:_DIMENSIONS])
        ]
        unit = str(getattr(field, "unit", ""))
        parts.append(f"<h3>{escape(field.name)}: {escape(unit)}</h3>{_pairs(plots)}")
    return f"<details><summary>State</summary>{''.join(parts)}</details>" if parts else ""


def _latency(story: Story) -> str:
    if not story.plans:
        return ""
    ready = np.array([x.ready_ms for x in story.plans])
    points = [(x.t_s, x.ready_ms) for x in story.plans]
    span = points[0][0], points[-1][0]
    found = [
        Line("capture to ready", points, _SENT),
        Line("L", [(t, story.latency_ms) for t in span], _WANTED, dashed=True),
    ]
    drawn = lines(found, "s", "ms", "Capture to ready, milliseconds over seconds", from_zero=True)
    plots = [
        _titled("capture to ready, plan by plan", drawn),
        _titled("how often", histogram((ready * 1e6).astype(np.int64), "capture to ready")),
    ]
    late = story.late_us[np.isfinite(story.late_us)]
    if late.size and late.max() > 0:
        wakes = np.maximum(late * 1e3, 1.0).astype(np.int64)
        plots.append(_titled("how late ticks began", histogram(wakes, "a tick after its time")))
    return f"<h2>Latency</h2>{_pairs(plots)}{legend(found)}"


def _cuts(story: Story) -> str:
    if not story.cuts:
        return ""
    count = len(story.kinds)
    bars = [
        Bar(name, times, f"{times} · {100 * times / count:.3g} %", colour=COLOURS[3])
        for name, times in story.cuts.most_common(_DIMENSIONS)
    ]
    chart = bar_chart(bars, "Commands that each limit cut", label_width=170)
    return f"<h2>What the limits cut</h2>{chart}"


def _pictures(story: Story) -> str:
    parts = []
    for camera, found in story.pictures.items():
        if not found:
            continue
        every = np.unique(np.linspace(0, len(found) - 1, min(_PICTURES, len(found))).astype(int))
        figures = "".join(
            f"<figure><img alt='' src='{data_uri(found[i].pixels)}'>"
            f"<figcaption>{max(0.0, found[i].t_s):.1f} s</figcaption></figure>"
            for i in every
        )
        parts.append(f"<h3>{escape(camera)}</h3><div class='strip'>{figures}</div>")
    return f"<h2>Pictures</h2>{''.join(parts)}" if parts else ""


def _events(story: Story) -> str:
    if not story.events:
        return ""
    rows = [(f"{t:.3f}", what, detail) for t, what, detail in story.events[:_EVENTS]]
    left = len(story.events) - len(rows)
    more = f"<p class='caption'>{left} more are in the log.</p>" if left > 0 else ""
    shown = table(("s", "event", ""), rows, text_columns=3)
    return f"<h2>Events</h2><div class='folded'>{shown}</div>{more}"


def _run(story: Story) -> str:
    plain = {k: v for k, v in story.header.items() if k not in _LEFT_OUT}
    return f"<h2>The run</h2>{facts(flat(plain))}"


def _plans(story: Story, dimension: int) -> list[Line]:
    dt_s = story.spec.dt_s
    every = np.unique(
        np.linspace(0, len(story.plans) - 1, min(_PLANS, len(story.plans))).astype(int)
    )
    found = []
    for i in every if story.plans else ():
        plan = story.plans[i]
        times = plan.t_s + dt_s * np.arange(len(plan.actions))
        points = list(zip(times.tolist(), plan.actions[:, dimension].tolist(), strict=True))
        found.append(Line("plans", [p for p in points if np.isfinite(p[1])], _PLAN, 0.6))
    return [line for line in found if line.points]


def _course_of(
    story: Story, name: str, values: NDArray[np.float64], colour: str, dashed: bool = False
) -> list[Line]:
    """A line, thinned to what can be seen, broken where there is no value."""
    known = np.isfinite(values)
    flank = np.diff(np.concatenate([[0], known.astype(np.int8), [0]]))
    found = []
    for first, end in zip(np.flatnonzero(flank == 1), np.flatnonzero(flank == -1), strict=True):
        points = thinned(story.t_s[first:end], values[first:end], _POINTS)
        found.append(Line(name, points, colour, dashed=dashed))
    return found


def thinned(x: NDArray[np.float64], y: NDArray[np.float64], most: int) -> list[tuple[float, float]]:
    """Return at most about `most` points of a line: of each slice the lowest and the highest, so
    that no peak is lost."""
    if len(x) <= most:
        return list(zip(x.tolist(), y.tolist(), strict=True))
    kept = []
    for part in np.array_split(np.arange(len(x)), most // 2):
        kept += sorted({int(part[np.argmin(y[part])]), int(part[np.argmax(y[part])])})
    return [(float(x[i]), float(y[i])) for i in kept]


def _plot(found: Sequence[Line], title: str, unit: str) -> str:
    if not found:
        return ""
    drawn = lines(found, "s", unit, f"{title} over seconds")
    return _titled(title, drawn)


def _titled(title: str, drawn: str) -> str:
    return f"<div><p class='small'>{escape(title)}</p>{drawn}</div>"


def _pairs(plots: Sequence[str]) -> str:
    return f"<div class='pair'>{''.join(plots)}</div>"
