"""The HTML report of `profile-loop`: the chain at a glance, then every series in full."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ofp_edge.profile.loop_probe import LINKS, Series
from ofp_edge.profile.report import schedule_section
from ofp_edge.report.bars import Bar, bar_chart
from ofp_edge.report.html import facts, flat, page, table
from ofp_edge.report.svg import histogram, timeline

_COLUMNS = ("p50", "p90", "p95", "p99", "p99_9", "max", "jitter")
_FIRST = ("camera to action", "tick late", "capture to ready")


def render_loop(values: dict[str, Any], series: Series) -> str:
    """Return a whole HTML page; `values` is the document of `summarise_loop`."""
    name = Path(values["bundle"]).name
    stages = values["stages"]
    order = [k for k in (*_FIRST, *LINKS) if k in stages]
    plots = "".join(
        f"<h3>{escape(k)}</h3><div class='pair'>{histogram(series[k], k)}"
        f"{timeline(series[k], values['duration_s'], k)}</div>"
        for k in order
    )
    bars = "".join(
        f"<h3>{title}</h3>{_chain([(k, stages[k][p]) for k in LINKS if k in stages], title)}"
        for p, title in (("p50", "Medians"), ("p99", "p99 of each link"))
    )
    sections = [
        f"<h1>{escape(name)}</h1>",
        f"<p class='sub'>The whole loop at {values['control_hz']:g} Hz on "
        f"{escape(str(values['fingerprint']['cpu']))} · {escape(values['engine'])} · "
        f"{escape(values['precision'])} · rig {escape(values['rig'])} · {values['ticks']:,} ticks "
        f"in {values['duration_s']:.0f} s</p>",
        _tiles(values),
        "".join(f"<p class='note'>{escape(note)}</p>" for note in values["notes"]),
        schedule_section(values["schedule"]),
        "<h2>From camera to action</h2>",
        bars,
        "<p class='caption'>Of each plan its first action: the later ones wait on purpose. “Wait "
        "for the slot” is the fixed latency L at work: a plan takes over at t_obs + L, however "
        "early it was ready. p99 of each link do not add up to p99 of the whole.</p>",
        "<h2>Figures</h2>",
        _figures(values, order),
        "<h2>Counts</h2>",
        facts(values["counts"].items()),
        "<h2>Cold start</h2>",
        facts(flat(values["cold_start"])),
        "<h2>Course</h2>",
        plots,
        "<p class='caption'>Left: how often which latency. Right: <span class='key-median'>median"
        "</span> and <span class='key-max'>maximum</span> over the run. Axes in milliseconds are "
        "logarithmic where they span more than a factor of 20.</p>",
        "<h2>Machine</h2>",
        facts(flat(values["fingerprint"])),
        facts((f"real time · {s['name']}", s["detail"]) for s in values["realtime"]),
        facts([("bundle", values["bundle"]), ("manifest SHA-256", values["bundle_sha256"])]),
    ]
    return page(f"{name}: the whole loop", sections)


def _tiles(values: dict[str, Any]) -> str:
    stages = values["stages"]
    tiles = []
    for name in _FIRST:
        if name in stages:
            row = stages[name]
            tiles.append((name, f"{row['p50']:.2f} ms", f"p99.9 {row['p99_9']:.2f} ms"))
    counts = values["counts"]
    tiles.append(
        (
            "late plans",
            f"{counts['misses']}",
            f"of {counts['plans']}, {counts['skipped ticks']} ticks skipped",
        )
    )
    if values["proposed_latency_ms"] is not None:
        tiles.append(
            (
                "proposed L",
                f"{values['proposed_latency_ms']:g} ms",
                f"the rig has {values['latency_ms']:g} ms",
            )
        )
    if values["budget_ms"] is not None:
        kept = {True: "kept", False: "missed", None: "not measured"}[values["within_budget"]]
        worth = "" if values["verdict"] else ", not a verdict"
        tiles.append((f"budget {values['budget_ms']:g} ms", kept, f"p99.9{worth}"))
    return (
        "<div class='tiles'>"
        + "".join(
            f"<div class='tile'><div class='what'>{escape(what)}</div>"
            f"<div class='big'>{escape(big)}"
            f"</div><div class='small'>{escape(small)}</div></div>"
            for what, big, small in tiles
        )
        + "</div>"
    )


def _figures(values: dict[str, Any], order: list[str]) -> str:
    rows = []
    for name in order:
        row = values["stages"][name]
        tail = row["intervals"].get("p99_9")
        between = "–" if tail is None else f"{tail[0]:.3f} … {tail[1]:.3f}"
        rows.append((name, *(f"{row[c]:.3f}" for c in _COLUMNS), between, f"{row['samples']:,}"))
    head = ("ms", *(c.replace("_", ".") for c in _COLUMNS), "95 % of p99.9", "samples")
    return table(head, rows) + (
        "<p class='caption'>Milliseconds, without the warm-up. Jitter = p99.9 − p50. “Tick late” "
        "is when the thread woke up after the tick’s nominal time; intervals are of a block "
        "bootstrap over a hundred stretches of the run.</p>"
    )


def _chain(links: Sequence[tuple[str, float]], title: str) -> str:
    """Draw the durations in ms end to end, each named in a row of its own."""
    bars, start = [], 0.0
    for link, value in links:
        bars.append(Bar(link, value, f"{value:.3g} ms", start=start))
        start += value
    return bar_chart(bars, title, label_width=150)
