"""Commands around seams, as one HTML page a task: each row of the table in a panel of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ofp_edge.report.html import page
from ofp_edge.report.lines import COLOURS
from ofp_edge.report.svg import Plot, Scale
from ofp_edge.spec import PolicySpec

Traces = Sequence[
    Mapping[str, Any]
]  # of a cell: the first command's number from the seam, commands
_MOST = 6  # lines in a panel
_DARK = """<style>
:root { color-scheme: light dark; }
svg .committed { fill: var(--pale); opacity: 0.35; }
svg .seam { stroke: var(--amber); stroke-width: 1.5; stroke-dasharray: 4 3; }
svg text { font-size: 12px; fill: var(--ink); }
.panels { display: grid; gap: 8px 24px;
  grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); }
.panels h3 { margin: 12px 0 2px; color: var(--ink); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #a9b3bd; --line: #3a424b; --paper: #15191e; --wash: #1e242b;
    --blue: #7fb2ea; --pale: #56708f; --amber: #f0a55a; }
  .panels svg polyline, .panels svg circle { filter: brightness(1.5); }
}
</style>"""


def render(
    task: str, spec: PolicySpec, drawn: Mapping[float, Mapping[str, Mapping[str, Traces]]]
) -> str:
    """Return the page. drawn: traces by L in ms, start and row; all panels show the action that
    jumps most in the plain switch's, on one scale."""
    everything = [x for starts in drawn.values() for rows in starts.values() for x in rows.values()]
    shown = _liveliest([starts["noisy"]["plain"] for starts in drawn.values()], spec)
    name, unit = _labels(spec)[shown]
    every = np.concatenate([_values(x, shown) for some in everything for x in some[:_MOST]])
    margin = 0.08 * float(np.ptp(every)) or 1e-3
    up = Scale(float(every.min()) - margin, float(every.max()) + margin)
    sections = [
        _DARK,
        f"<h1>Seams of {escape(task)}</h1>",
        f"<p class='sub'>Commands of {escape(name)} around the seam in the middle of {_MOST} "
        "episodes, the same ones in every panel, one colour each.</p>",
        "<p class='caption'>Dashed: a new plan takes over; its first free command is at 0. Shaded: "
        "what was committed when it was begun. Each point is one command, as it was sent.</p>",
    ]
    for latency_ms, starts in drawn.items():
        for start, rows in starts.items():
            panels = [
                f"<div><h3>{escape(row)}</h3>"
                + _panel(traces[:_MOST], shown, spec, latency_ms, up, f"{name}, {unit}", row)
                + "</div>"
                for row, traces in rows.items()
            ]
            sections.append(f"<h2>L = {latency_ms:g} ms, {escape(start)}</h2>")
            sections.append(f"<div class='panels'>{''.join(panels)}</div>")
    return page(f"Seams of {task}", sections)


def _panel(
    traces: Traces, shown: int, spec: PolicySpec, latency_ms: float, up: Scale, label: str, row: str
) -> str:
    dt_ms = spec.dt_s * 1e3
    last = max((x["first"] + len(x["commands"]) for x in traces), default=1)
    first = min((x["first"] for x in traces), default=-1)
    across = Scale((first - 0.5) * dt_ms, (last - 0.5) * dt_ms)
    plot = Plot(across, up, "ms from the first free command", label)
    left, right = plot.x(max(across.low, -latency_ms - dt_ms / 2)), plot.x(-dt_ms / 2)
    top, bottom = plot.y(up.high), plot.y(up.low)
    plot.add(
        f'<rect class="committed" x="{left}" y="{top}" width="{right - left:.2f}" '
        f'height="{bottom - top:.2f}"/><line class="seam" x1="{right}" x2="{right}" y1="{top}" '
        f'y2="{bottom}"/>'
    )
    for trace, colour in zip(traces, COLOURS, strict=False):
        values = _values(trace, shown)
        points = [
            (plot.x((trace["first"] + i) * dt_ms), plot.y(float(value)))
            for i, value in enumerate(values)
        ]
        line = " ".join(f"{x},{y}" for x, y in points)
        plot.add(f'<polyline points="{line}" style="stroke:{colour};stroke-width:1.6"/>')
        plot.add("".join(f'<circle cx="{x}" cy="{y}" r="2.2" fill="{colour}"/>' for x, y in points))
    return plot.svg(f"{row}: {label} around {len(traces)} seams")


def _values(trace: Mapping[str, Any], shown: int) -> Any:
    return np.asarray(trace["commands"])[:, shown]


def _liveliest(some: Sequence[Traces], spec: PolicySpec) -> int:
    """The continuous action with the largest mean step over the seams."""
    steps = [
        np.abs(commands[-x["first"]] - commands[-x["first"] - 1])
        for traces in some
        for x in traces
        if 0 < -x["first"] < len(commands := np.asarray(x["commands"]))
    ]
    linear = [f.interpolation != "nearest" for f in spec.actions for _ in range(f.shape[0])]
    moved = np.mean(steps, axis=0) if steps else np.ones(len(linear))
    return int(np.argmax(np.where(linear, moved, -1.0)))


def _labels(spec: PolicySpec) -> list[tuple[str, str]]:
    """By action dimension: its name, and the unit of a command."""
    per = {"delta": " a step", "velocity": "/s", "absolute": ""}
    return [
        (f"{f.name}[{i}]" if f.shape[0] > 1 else f.name, f"{f.unit}{per[f.kind]}")
        for f in spec.actions
        for i in range(f.shape[0])
    ]
