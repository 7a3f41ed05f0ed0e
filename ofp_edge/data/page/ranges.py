"""Where the numbers of each dimension lie: the range of most frames within that of all."""

from __future__ import annotations

from collections.abc import Sequence

from ofp_edge.data.extents import Extent
from ofp_edge.data.judge import Judged
from ofp_edge.data.page.names import text

_MOST_ROWS, _WIDTH, _HEIGHT = 200, 240, 16


def ranges(found: Judged) -> str:
    """Return a table of all dimensions; glitches lead to the line that says them."""
    read = {row.key for row in found.taken if row.field is not None}
    keys = sorted(found.survey.extents, key=lambda x: x not in read)
    rows, left = list[str](), 0
    for key in keys:
        names = found.source.names.get(key, ())
        for d, extent in enumerate(found.survey.extents[key]):
            if len(rows) == _MOST_ROWS:
                left += 1
                continue
            called = f"{key}[{d}]" + (f" {names[d]}" if d < len(names) else "")
            rows.append(_row(called, extent, found.odd))
    if not rows:
        return ""
    head = ("dimension", "smallest", "98 % from", "to", "largest", "", "far off")
    cells = "".join(f"<th{' class=n' if 0 < i < 5 else ''}>{x}</th>" for i, x in enumerate(head))
    more = f" {left} more dimensions are not shown." if left else ""
    return (
        f"<h2>Ranges</h2><div class='wide'><table><thead><tr>{cells}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        "<p class='caption'>Thin: from the smallest to the largest value, which the network's "
        "range is made of. Thick: 98 % of the frames, or where single values decide the range, "
        "all others. Far off: frames further from the thick range than it is wide; a heavy tail "
        f"has some too. Of points: each axis.{more}</p>"
    )


def _row(called: str, extent: Extent | None, odd: Sequence[str]) -> str:
    if extent is None:
        return f"<tr><td>{text(called)}</td><td colspan=6>no finite number</td></tr>"
    numbers = (extent.low, extent.inner_low, extent.inner_high, extent.high)
    cells = "".join(f"<td class=n>{x:.4g}</td>" for x in numbers)
    far = f"{extent.far} frames" if extent.far else ""
    if extent.glitch in odd:
        far = f"<a href='#odd-{odd.index(extent.glitch) + 1}'>glitch: {far}</a>"
    return (
        f"<tr><td>{text(called)}</td>{cells}<td class='bars'>{_bar(extent)}</td><td>{far}</td></tr>"
    )


def _bar(extent: Extent) -> str:
    span = extent.high - extent.low
    if not 0 < span < float("inf"):
        return "constant" if span == 0 else ""
    middle = _HEIGHT / 2

    def x(value: float) -> float:
        return round(2 + (value - extent.low) / span * (_WIDTH - 4), 1)

    left, right = x(extent.inner_low), x(extent.inner_high)
    marks = "".join(
        f'<circle cx="{x(value)}" cy="{middle}" r="3" style="fill:var(--amber)"/>'
        for value in extent.far_values
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="width:{_WIDTH}px" role="img" '
        f'aria-label="{extent.low:.4g} to {extent.high:.4g}">'
        f'<line class="axis" x1="2" x2="{_WIDTH - 2}" y1="{middle}" y2="{middle}"/>'
        f'<rect class="bar" x="{left}" y="4" width="{max(1.0, right - left):.1f}" '
        f'height="{_HEIGHT - 8}"/>{marks}</svg>'
    )
