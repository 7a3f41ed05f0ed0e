"""Small plots as inline SVG: the histogram and the course of latencies, a curve, and axes for
others.

Latencies have long tails: their axes are logarithmic wherever they span more than a factor of 20.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 440, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 18, 40
_HISTOGRAM_BINS, _TIMELINE_BINS = 72, 120
_LONG_TAIL = 20.0
_SMALLEST_MS = 1e-6


@dataclass(frozen=True)
class Scale:
    """A scale maps low..high to 0..1, linearly or by logarithm, and knows its round numbers."""

    low: float
    high: float
    logarithmic: bool = False

    @staticmethod
    def of_latencies(low: float, high: float) -> Scale:
        """Make a scale from the smallest to the largest, or from zero where the tail is short."""
        low, high = max(low, _SMALLEST_MS), max(high, 2 * _SMALLEST_MS)
        if high / low > _LONG_TAIL:
            return Scale(low / 1.1, high * 1.1, logarithmic=True)
        return Scale(0.0, high * 1.05)

    def share(self, value: float) -> float:
        """Return where on the axis the value is, 0..1."""
        if self.logarithmic:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def edges(self, bins: int) -> NDArray[np.float64]:
        """Return bins + 1 values, evenly spaced on the axis."""
        space = np.geomspace if self.logarithmic else np.linspace
        return np.asarray(space(self.low, self.high, bins + 1), dtype=np.float64)

    def ticks(self) -> list[float]:
        """Return round numbers inside the axis, some five of them."""
        if not self.logarithmic:
            raw = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(raw))
            step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            return [round(k * step, 12) for k in range(first, last + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for mantissas in ((1, 2, 5), (1, 3), (1,)):
            found = [
                round(m * 10.0**p, 12)
                for p in powers
                for m in mantissas
                if self.low <= m * 10.0**p <= self.high
            ]
            if len(found) <= 8:
                break
        return found


class Plot:
    """Axes with ticks and labels, and what is drawn between them."""

    def __init__(self, across: Scale, up: Scale, x_label: str, y_label: str) -> None:
        self._across, self._up = across, up
        self._parts: list[str] = []
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for value in up.ticks():
            y = self.y(value)
            self.add(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
            self._text(_LEFT - 6, y + 4, number(value), "end")
        for value in across.ticks():
            x = self.x(value)
            self.add(f'<line class="tick" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>')
            self._text(x, bottom + 16, number(value), "middle")
        self.add(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        self._text((_LEFT + right) / 2, _HEIGHT - 6, x_label, "middle")
        self.add(
            f'<text text-anchor="middle" transform="translate(12 {(_TOP + bottom) / 2}) '
            f'rotate(-90)">{escape(y_label)}</text>'
        )

    def x(self, value: float) -> float:
        """Return where `value` is across, in the picture's units."""
        return round(_LEFT + self._across.share(value) * (_WIDTH - _LEFT - _RIGHT), 2)

    def y(self, value: float) -> float:
        """Return where `value` is upwards."""
        return round(_HEIGHT - _BOTTOM - self._up.share(value) * (_HEIGHT - _TOP - _BOTTOM), 2)

    def add(self, part: str) -> None:
        """Draw an SVG element."""
        self._parts.append(part)

    def _text(self, x: float, y: float, text: str, anchor: str) -> None:
        self.add(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>')

    def svg(self, title: str) -> str:
        """Return the picture; `title` is for those who cannot see it."""
        return (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
            f"{''.join(self._parts)}</svg>"
        )


def histogram(values_ns: NDArray[np.int64], name: str) -> str:
    """Show how often each latency occurred; every sample is in it."""
    ms = np.maximum(np.asarray(values_ns, dtype=np.float64) / 1e6, _SMALLEST_MS)
    across = Scale.of_latencies(float(ms.min()), float(ms.max()))
    edges = across.edges(_HISTOGRAM_BINS)
    counts, _ = np.histogram(ms, bins=edges)
    plot = Plot(across, Scale(0.0, 1.05 * float(counts.max())), "ms", "samples")
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        if count:
            x, y = plot.x(left), plot.y(float(count))
            width, height = max(1.0, plot.x(right) - x - 0.5), max(0.8, plot.y(0) - y)
            y = plot.y(0) - height
            plot.add(
                f'<rect class="bar" x="{x}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>'
            )
    last = -math.inf
    for percent in (50, 99, 99.9):
        x = plot.x(float(np.percentile(ms, percent)))
        plot.add(f'<line class="mark" x1="{x}" x2="{x}" y1="{_TOP}" y2="{plot.y(0)}"/>')
        if x - last > 34:  # else the labels would overlap
            plot.add(
                f'<text class="mark-text" x="{x}" y="{_TOP - 5}" text-anchor="middle">'
                f"p{percent:g}</text>"
            )
            last = x
    return plot.svg(f"Histogram of {name}, milliseconds")


def timeline(values_ns: NDArray[np.int64], seconds: float, name: str) -> str:
    """Show the median and the maximum in slices of the run."""
    ms = np.maximum(np.asarray(values_ns, dtype=np.float64) / 1e6, _SMALLEST_MS)
    slices = np.array_split(ms, min(_TIMELINE_BINS, len(ms)))
    middle = [float(np.median(part)) for part in slices]
    top = [float(part.max()) for part in slices]
    up = Scale.of_latencies(min(middle), max(top))
    plot = Plot(Scale(0.0, max(seconds, 1e-3)), up, "s since the warm-up", "ms")
    for kind, course in (("max", top), ("median", middle)):
        points = " ".join(
            f"{plot.x((i + 0.5) / len(course) * seconds)},{plot.y(value)}"
            for i, value in enumerate(course)
        )
        plot.add(f'<polyline class="{kind}" points="{points}"/>')
    return plot.svg(f"Course of {name}, milliseconds over seconds")


def curve(
    points: Sequence[tuple[float, float, float, float]], x_label: str, y_label: str, name: str
) -> str:
    """Draw points (x, y, low, high) joined by a line, with low..high as bars. y goes from 0 to
    100."""
    xs = [x for x, *_ in points]
    margin = 0.05 * (max(xs) - min(xs)) or 1.0
    plot = Plot(Scale(min(xs) - margin, max(xs) + margin), Scale(0.0, 100.0), x_label, y_label)
    for x, y, low, high in points:
        at = plot.x(x)
        plot.add(f'<line class="bar" x1="{at}" x2="{at}" y1="{plot.y(low)}" y2="{plot.y(high)}"/>')
        plot.add(f'<circle class="bar" cx="{at}" cy="{plot.y(y)}" r="3"/>')
    line = " ".join(f"{plot.x(x)},{plot.y(y)}" for x, y, *_ in points)
    plot.add(f'<polyline class="median" points="{line}"/>')
    return plot.svg(name)


def number(value: float) -> str:
    """Shorten a number: 12000 -> 12k, 0.05 -> 0.05."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"
