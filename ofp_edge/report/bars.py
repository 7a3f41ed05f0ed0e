"""The bar chart of every report: horizontal bars, one for each row, as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ofp_edge.report.svg import Scale

_LINE, _TOP, _FOOT, _LONGEST_LABEL, _LETTER = 19, 6, 20, 44, 6.2


@dataclass(frozen=True)
class Bar:
    """One row. `said` is its value as text. `start` is where the bar begins on the axis. `interval`
    is its low and high on the axis. `colour` is a CSS colour; None is the report's own. A `hollow`
    bar is drawn as an outline."""

    label: str
    value: float
    said: str
    start: float = 0.0
    interval: tuple[float, float] | None = None
    colour: str | None = None
    hollow: bool = False


def bar_chart(
    bars: Sequence[Bar],
    title: str,
    *,
    top: float | None = None,
    ticks: bool = False,
    caption: str = "",
    width: int = 860,
    label_width: int = 0,
) -> str:
    """Draw the chart; without bars the text is empty. `top` is where the axis ends, by default at
    the furthest bar.

    `title` is for those who cannot see the picture. `ticks` are lines at round numbers. `caption`
    is a line below. `width` and `label_width` are in the picture's units; by default labels have
    the room that they need. One of more than 44 letters is cut, and shown whole under the pointer.
    """
    if not bars:
        return ""
    longest = min(_LONGEST_LABEL, max(len(bar.label) for bar in bars))
    label_width = label_width or round(longest * _LETTER) + 12
    furthest = max(bar.start + bar.value for bar in bars) if top is None else top
    scale = Scale(0.0, furthest or 1.0)  # every bar may be 0
    said = max(len(bar.said) for bar in bars)
    room, bottom = width - label_width - max(60, 10 + _LETTER * said), _TOP + _LINE * len(bars)

    def x(value: float) -> float:
        return round(label_width + scale.share(value) * room, 2)

    parts = []
    for tick in scale.ticks() if ticks else []:
        at = x(tick)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{at}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for number, bar in enumerate(bars):
        parts.append(_row(bar, _TOP + _LINE * number, x, label_width))
    parts.append(
        f'<line class="axis" x1="{label_width}" x2="{label_width}" y1="{_TOP}" y2="{bottom}"/>'
    )
    if caption:
        parts.append(f'<text x="{label_width}" y="{bottom + 14}">{escape(caption)}</text>')
    foot = _FOOT if ticks or caption else 4
    return (
        f'<div class="chart"><svg viewBox="0 0 {width} {bottom + foot}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></div>'
    )


def _row(bar: Bar, y: float, x: Callable[[float], float], label_width: int) -> str:
    middle, begin, end = y + _LINE / 2, x(bar.start), x(bar.start + bar.value)
    style = f' style="fill:{bar.colour}"' if bar.colour else ""
    outline = ' fill-opacity="0.25" stroke="currentColor"' if bar.hollow else ""
    parts = [
        f'<text x="{label_width - 6}" y="{middle + 4}" text-anchor="end">'
        f"{escape(_short(bar.label, label_width))}<title>{escape(bar.label)}</title></text>",
        f'<rect class="bar" x="{begin}" y="{y + 3}" width="{max(1.0, end - begin):.2f}" '
        f'height="{_LINE - 6}"{style}{outline}/>',
    ]
    if bar.interval is not None:
        low, high = (x(value) for value in bar.interval)
        end = max(end, high)
        parts.append(
            f'<path d="M{low} {middle}H{high}M{low} {middle - 3}v6M{high} {middle - 3}v6" '
            'style="stroke:var(--ink);fill:none;stroke-width:1.2"/>'
        )
    parts.append(
        f'<text x="{max(end, begin + 1) + 5:.2f}" y="{middle + 4}">{escape(bar.said)}</text>'
    )
    return "".join(parts)


def _short(label: str, width: int) -> str:
    most = min(_LONGEST_LABEL, int(width / _LETTER))
    return label if len(label) <= most else label[: most - 1] + "…"
