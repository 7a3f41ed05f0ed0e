"""A plot of several lines, as inline SVG; what each is stands in its legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ofp_edge.report.svg import Plot, Scale

COLOURS = ("#2563a8", "#b45309", "#3f7d4e", "#7a4fa3", "#a33a4a", "#4a8a99", "#6b6f76", "#a88a1c")


@dataclass(frozen=True)
class Line:
    """One line of points (x, y); those of one name are one entry of the legend. width: in the
    picture's units. dashed: drawn in dashes."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str = COLOURS[0]
    width: float = 1.5
    dashed: bool = False


def lines(
    drawn: Sequence[Line], x_label: str, y_label: str, title: str, *, from_zero: bool = False
) -> str:
    """Draw the lines, the later ones on top. `from_zero`: the upward axis begins at 0. `title` is
    for those who cannot see the picture."""
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    low, high = (0.0 if from_zero else min(ys)), max(ys)
    margin = 0.05 * (high - low) or max(abs(high), 1e-3)
    up = Scale(0.0 if from_zero else low - margin, high + margin)
    plot = Plot(Scale(min(xs), max(max(xs), min(xs) + 1)), up, x_label, y_label)
    for line in drawn:
        points = " ".join(f"{plot.x(x)},{plot.y(y)}" for x, y in line.points)
        dashes = ";stroke-dasharray:4 3" if line.dashed else ""
        plot.add(
            f'<polyline points="{points}" '
            f'style="stroke:{line.colour};stroke-width:{line.width:g}{dashes}"/>'
        )
    return plot.svg(title)


def legend(drawn: Sequence[Line]) -> str:
    """Return the names in their colours, as a line below the plots that share them."""
    named = {line.name: line for line in drawn}
    parts = [
        f"<span style='color:{line.colour};font-weight:600'>"
        f"{'╌' if line.dashed else '—'} {escape(name)}</span>"
        for name, line in named.items()
    ]
    return f"<p class='caption'>{' · '.join(parts)}</p>"
