"""The plots of a benchmark as inline SVG: bars with intervals, success against nfe, costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from ofp_edge.bench.tables import Document, find_row, short_names, variants
from ofp_edge.profile.svg import Plot, Scale

COLOURS = ("#2563a8", "#b45309", "#3f7d4e", "#7a4fa3", "#a33a4a", "#4a8a99", "#6b6f76", "#a88a1c")
_LABEL, _WIDTH, _RIGHT, _LINE, _TOP, _FOOT = 150, 440, 52, 19, 6, 20


def colour(values: Document, row: str) -> str:
    """A row's colour in every plot: rows of one method share it."""
    methods = list(dict.fromkeys(r["method"] for r in values["suite"]["rows"]))
    method = next(r["method"] for r in values["suite"]["rows"] if r["name"] == row)
    return COLOURS[methods.index(method) % len(COLOURS)]


def success_bars(values: Document, task: str) -> str:
    """A bar a row and nfe, with the 95 % interval; empty before any episode."""
    bars = []
    for name, nfe in variants(values):
        entry = find_row(values, task, name, nfe)
        if entry["success"] is not None:
            low, high = (100 * x for x in entry["interval"])
            bars.append(
                (f"{name} @{nfe}", 100 * entry["success"], (low, high), colour(values, name))
            )
    return _bars(bars, 100.0, f"Success on {task}, percent", lambda x: f"{x:.1f}")


def cost_bars(values: Document, key: str, title: str) -> str:
    """A bar a training; `key` of the costs."""
    bars = [
        (", ".join(c["rows"]), c[key], None, colour(values, c["rows"][0]))
        for c in values["costs"]
        if c[key] is not None
    ]
    top = max((bar[1] for bar in bars), default=1.0)
    return _bars(bars, 1.05 * top, title, lambda x: f"{x:.3g}" if x < 100 else f"{x:.0f}")


def success_over_nfe(values: Document, group: str) -> str:
    """The group's mean success against network evaluations a chunk; empty without two points."""
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
    """Which colour is which row."""
    return "<p class='caption'>" + " · ".join(
        f"<span style='color:{colour(values, row['name'])}'>●</span> {escape(row['name'])}"
        for row in values["suite"]["rows"]
    ) + "</p>"  # fmt: skip


def _bars(
    bars: Sequence[tuple[str, float, tuple[float, float] | None, str]], top: float, title: str,
    said: Callable[[float], str],
) -> str:  # fmt: skip
    """Lying bars: (label, value, interval, colour)."""
    if not bars:
        return ""
    scale = Scale(0.0, top)
    bottom = _TOP + _LINE * len(bars)
    room = _WIDTH - _LABEL - _RIGHT

    def x(value: float) -> float:
        return round(_LABEL + scale.share(value) * room, 2)

    parts = []
    for tick in scale.ticks():
        parts.append(
            f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="{_TOP}" y2="{bottom}"/>'
        )
        parts.append(f'<text x="{x(tick)}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for number, (label, value, interval, ink) in enumerate(bars):
        y = _TOP + _LINE * number
        middle = y + _LINE / 2
        parts.append(
            f'<text x="{_LABEL - 6}" y="{middle + 4}" text-anchor="end">{escape(_short(label))}'
            f"<title>{escape(label)}</title></text>"
            f'<rect x="{_LABEL}" y="{y + 4}" width="{max(0.5, x(value) - _LABEL):.2f}" '
            f'height="{_LINE - 8}" style="fill:{ink}"/>'
        )
        if interval is not None:
            low, high = x(interval[0]), x(interval[1])
            parts.append(
                f'<path d="M{low} {middle}H{high}M{low} {middle - 3}v6M{high} {middle - 3}v6" '
                'style="stroke:#1b1f24;fill:none;stroke-width:1.2"/>'
            )
        parts.append(f'<text x="{_WIDTH - _RIGHT + 8}" y="{middle + 4}">{said(value)}</text>')
    parts.append(f'<line class="axis" x1="{_LABEL}" x2="{_LABEL}" y1="{_TOP}" y2="{bottom}"/>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {bottom + _FOOT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _short(label: str, most: int = 24) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def short_task(values: Document, task: str) -> str:
    """Its name in a heading."""
    return short_names([t["name"] for t in values["suite"]["tasks"]])[task]
