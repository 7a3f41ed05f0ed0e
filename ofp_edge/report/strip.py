"""When what was so: rows of spans over one axis of time, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ofp_edge.report.svg import Scale, number

_WIDTH, _LABEL, _LINE, _FOOT = 860, 90, 20, 36


@dataclass(frozen=True)
class Row:
    """A row. spans: from and to, on the axis."""

    label: str
    spans: Sequence[tuple[float, float]]
    colour: str


def strip(
    rows: Sequence[Row], low: float, high: float, unit: str, *, marks: Sequence[float], title: str
) -> str:
    """Draw the rows from `low` to `high`, with a line through all of them at each of `marks`. Spans
    too short to be seen are one unit wide; `title` is for those who cannot see the picture."""
    scale, bottom = Scale(low, max(high, low + 1e-9)), _LINE * len(rows) + 4
    parts = []

    def x(value: float) -> float:
        return round(_LABEL + scale.share(min(max(value, low), high)) * (_WIDTH - _LABEL - 14), 1)

    for place, row in enumerate(rows):
        y = 2 + _LINE * place
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(row.label)}</text>'
        )
        path, end = "", -1.0
        for start, stop in row.spans:
            a, b = x(start), max(x(stop), x(start) + 1)
            if a < end:
                a = end  # drawn already
            if b > a:
                path += f"M{a} {y + 3}H{b}V{y + _LINE - 3}H{a}Z"
                end = b
        parts.append(f'<path d="{path}" style="fill:{row.colour}"/>')
    for mark in marks:
        if low <= mark <= high:
            at = x(mark)
            parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="0" y2="{bottom}"/>')
    parts.append(
        f'<line class="axis" x1="{_LABEL}" x2="{_WIDTH - 14}" y1="{bottom}" y2="{bottom}"/>'
    )
    for tick in scale.ticks():
        at = x(tick)
        parts.append(f'<line class="tick" x1="{at}" x2="{at}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{at}" y="{bottom + 17}" text-anchor="middle">{number(tick)}</text>')
    parts.append(
        f'<text x="{_LABEL - 8}" y="{bottom + 17}" text-anchor="end">{escape(unit)}</text>'
    )
    return (
        f'<div class="chart"><svg viewBox="0 0 {_WIDTH} {bottom + _FOOT - 12}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></div>'
    )
