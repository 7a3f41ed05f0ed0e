"""Render an evaluation as one HTML file: success against latency, as a plot and a table."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from ofp_edge.counted import counted
from ofp_edge.evaluate.report import cut_text, latency_rows
from ofp_edge.evaluate.start_text import start_text
from ofp_edge.report.html import page, table
from ofp_edge.report.svg import curve


def render(values: dict[str, Any]) -> str:
    """Return a whole HTML page. values: the document of `report.document`."""
    name = Path(values["evaluated"]).name
    start = start_text(values)
    frames = "" if values["frames"] == "own" else " · another episode’s camera frames (control)"
    limits = "" if values["rig"] is None else f" · limits of {escape(Path(values['rig']).name)}"
    head, rows = latency_rows(values)
    points = [
        (item["latency_ms"], *(100 * share for share in (item["success"], *item["interval"])))
        for item in values["by_latency"]
    ]
    plot = curve(points, "latency L, ms", "success, %", "Success in percent against latency")
    drawn = "; bars: 95 % interval (Wilson)" if len(points) > 1 else ""
    caption = (
        f"The same {values['episodes']} unseen episodes at each latency{drawn}. Jump in half "
        f"ranges of the action; jerk in {values['jerk_unit'] or 'no unit'}."
    )
    cuts = [
        f"At L = {item['latency_ms']:g} ms the limits cut {cut_text(item)} of the commands."
        for item in (values["by_latency"] if values["rig"] is not None else ())
    ]
    foreign = values["trained_on"] not in (None, values["task"])
    sections = [
        f"<h1>{escape(name)}</h1>",
        f"<p class='sub'>{escape(values['task'])} · {counted(values['nfe'], 'evaluation')} a "
        f"chunk, {escape(start)} · {escape(values['engine'])} · {escape(values['precision'])}"
        f"{frames}{limits}</p>",
        f"<p class='note'>Trained on {escape(values['trained_on'])}.</p>" if foreign else "",
        "<h2>Success against latency</h2>",
        f"<div class='pair'>{plot}</div>" if len(points) > 1 else "",
        table(head, rows, 0),
        f"<p class='caption'>{escape(' '.join([caption, *cuts]))}</p>",
        f"<p class='caption'>{escape(values['kind'])} SHA-256 {escape(values['sha256'])}, "
        f"seeds from {values['first_seed']}</p>",
    ]
    return page(f"{name}: success", sections)
