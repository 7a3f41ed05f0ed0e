"""The plots of a benchmark as inline SVG: bars with intervals, success against nfe, costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ofp_edge.bench.document import Document, find_row, short_names, variants
from ofp_edge.report.bars import Bar, bar_chart
from ofp_edge.report.lines import COLOURS
from ofp_edge.report.svg import Plot, Scale


def colour(values: Document, row: str) -> str:
    """Return a row's colour, the same in every plot; rows of one method share it, unless all are of
    one."""
    rows = values["suite"]["rows"]
    methods = list(dict.fromkeys(r["method"] for r in rows))
    if len(methods) == 1:
        return COLOURS[[r["name"] for r in rows].index(row) % len(COLOURS)]
    method = next(r["method"] for r in rows if r["name"] == row)
    return COLOURS[methods.index(method) % len(COLOURS)]


def success_bars(values: Document, task: str) -> str:
    """Draw a bar for each row and nfe, with the 95 % interval; empty before any episode."""
    bars = []
    for name, nfe in variants(values):
        entry = find_row(values, task, name, nfe)
        if entry["success"] is not None:
            low, high = (100 * x for x in entry["interval"])
            rate = 100 * entry["success"]
            said = f"{rate:.1f}"
            bars.append(
                Bar(f"{name} @{nfe}", rate, said, interval=(low, high), colour=colour(values, name))
            )
    return _chart(bars, 100.0, f"Success on {task}, percent")


def cost_bars(values: Document, key: str, title: str) -> str:
    """Draw a bar for each training; `key` names the cost."""
    bars = [
        Bar(
            ", ".join(c["rows"]),
            c[key],
            f"{c[key]:.3g}" if c[key] < 100 else f"{c[key]:.0f}",
            colour=colour(values, c["rows"][0]),
        )
        for c in values["costs"]
        if c[key] is not None
    ]
    return _chart(bars, 1.05 * max((bar.value for bar in bars), default=1.0), title)


def _chart(bars: Sequence[Bar], top: float, title: str) -> str:
    return bar_chart(bars, title, top=top, ticks=True, width=520)


def success_over_nfe(values: Document, group: str) -> str:
    """Draw the group's mean success against network evaluations a chunk; empty without two
    points."""
    tasks = [task["name"] for task in values["suite"]["tasks"] if task["group"] == group]
    lines = []
    for row in values["suite"]["rows"]:
        points = []
        for nfe in sorted(row["nfe"]):
            rates = [find_row(values, task, row["name"], nfe)["success"] for task in tasks]
            if all(rate is not None for rate in rates):
                points.append((nfe, 100 * sum(rates) / len(rates)))
        if points:
            lines.append((row["name"], points))
    counts = [nfe for _, points in lines for nfe, _ in points]
    if not counts or min(counts) == max(counts):
        return ""
    lowest = min(rate for _, points in lines for _, rate in points)
    floor = max(0.0, 10 * math.floor(lowest / 10 - 0.5))
    across = Scale(min(counts) / 1.25, max(counts) * 1.25, logarithmic=True)
    plot = Plot(across, Scale(floor, 102.0), "network evaluations a chunk", "success, %")
    for name, points in lines:
        ink = colour(values, name)
        places = [(plot.x(nfe), plot.y(rate)) for nfe, rate in points]
        path = " ".join(f"{x},{y}" for x, y in places)
        plot.add(f'<polyline style="stroke:{ink}" points="{path}"/>')
        for (x, y), (nfe, rate) in zip(places, points, strict=True):
            said = escape(f"{name} @{nfe}: {rate:.1f} %")
            plot.add(
                f'<circle cx="{x}" cy="{y}" r="3.5" style="fill:{ink}">'
                f"<title>{said}</title></circle>"
            )
    return plot.svg(f"Success over network evaluations, {group} tasks")


def legend(values: Document) -> str:
    """Say which colour belongs to which row."""
    return (
        "<p class='caption'>"
        + " · ".join(
            f"<span style='color:{colour(values, row['name'])}'>●</span> {escape(row['name'])}"
            for row in values["suite"]["rows"]
        )
        + "</p>"
    )


def short_task(values: Document, task: str) -> str:
    """Return the task's name in a heading."""
    return short_names([t["name"] for t in values["suite"]["tasks"]])[task]
