"""An offline evaluation as one HTML file: verdict, tables, errors by step, curves of episodes."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.counted import counted
from ofp_edge.evaluate.offline import ONLY, Offline
from ofp_edge.evaluate.offline_text import quantity_rows, run_rows, said
from ofp_edge.evaluate.offline_verdict import BLIND, best_blind
from ofp_edge.evaluate.quantities import Quantity
from ofp_edge.evaluate.start_text import start_text
from ofp_edge.quantize.units import in_shown_unit
from ofp_edge.report.bars import Bar, bar_chart
from ofp_edge.report.html import facts, page, table
from ofp_edge.report.lines import COLOURS, Line, legend, lines

_LONGEST_CURVE = 400
"""Frames of an episode that its curves show, from its start."""
_RECORDED, _PLANNED = "#6b6f76", COLOURS[0]


def render(document: dict[str, Any], found: Offline) -> str:
    """Return a whole HTML page. document: what `eval --dataset` prints."""
    values, name = document["recorded"], Path(document["evaluated"]).name
    start = start_text(document)
    data = Path(values["dataset"]).name
    said_lines = "".join(f"<li>{escape(line)}</li>" for line in values["verdict"])
    sections = [
        f"<h1>{escape(name)} against recorded episodes</h1>",
        f"<p class='sub'>{escape(data)} · {counted(len(values['episodes']), 'episode')}, "
        f"{counted(values['plans'], 'plan')} · {counted(document['nfe'], 'evaluation')} a chunk, "
        f"{escape(start)} · "
        f"{escape(document['engine'])} · {escape(document['precision'])}</p>",
        f"<ul>{said_lines}</ul>",
        "<h2>Error of each action</h2>",
        table(*quantity_rows(values)),
        _caption(values),
        _bars(values),
        "<h2>One evaluation, more, and none</h2>",
        table(*run_rows(values)),
        "<p class='caption'>In spreads: 1 is as far off as the recorded actions are from their "
        "mean, as a mean over all actions but grippers. Noises apart: two plans from the same "
        "observations. Jump: of the next plan from this one at the hand-over.</p>",
        _between(values),
        "<h2>Error by step of the horizon</h2>",
        _by_step(values),
        *_curves(values, found),
        _outside(values),
        "<h2>What was measured</h2>",
        facts(
            [
                ("episodes", ", ".join(map(str, values["episodes"]))),
                ("unseen", values["why"]),
                ("noises a plan", _noises(document)),
                ("rate", f"{values['control_hz']:g} Hz"),
                ("dataset SHA-256", values["sha256"]),
                (f"{document['kind']} SHA-256", document["sha256"]),
            ]
        ),
    ]
    return page(f"{name} against {data}", sections)


def _noises(document: dict[str, Any]) -> str:
    if document["start"] is None:
        return "none: deterministic"
    return f"{document['recorded']['samples']}, from seed {document['seed']}"


def _caption(values: dict[str, Any]) -> str:
    counted = [x["name"] for x in values["quantities"] if x["measure"] == "agreement"]
    differs = f" Of {', '.join(counted)}: the share of steps that differ." if counted else ""
    return (
        f"<p class='caption'>Mean absolute error over {values['plan_steps']} steps of every plan; "
        f"executed: over the {values['n_action_steps']} that are carried out. Sees nothing: the "
        f"nearest of {', '.join(BLIND.values())}.{escape(differs)}</p>"
    )


def _bars(values: dict[str, Any]) -> str:
    """The error of each quantity as a share of the best plan's that sees nothing."""
    bars = []
    for i, row in enumerate(values["runs"][0]["quantities"]):
        name, blind = best_blind(values, i)
        if blind > 0:
            about = values["quantities"][i]
            text = f"{said(about, row['mean'])} of {said(about, blind)} ({name})"
            bars.append(Bar(row["name"], 100 * row["mean"] / blind, text))
    chart = bar_chart(
        bars,
        "Error in percent of that of a plan that sees nothing",
        ticks=True,
        top=1.35 * max([100.0, *(bar.value for bar in bars)]),
    )
    if not chart:
        return ""
    return f"{chart}<p class='caption'>In percent of the nearest plan that sees nothing.</p>"


def _between(values: dict[str, Any]) -> str:
    if not values["between"]:
        return ""
    head = ("from the same noise, cold", "in spreads", *(x["name"] for x in values["quantities"]))
    rows = [
        (
            f"{x['nfe'][0]} and {x['nfe'][1]} evaluations apart",
            f"{x['distance']:.3g}",
            *(
                said(about, row["mean"])
                for about, row in zip(values["quantities"], x["quantities"], strict=True)
            ),
        )
        for x in values["between"]
    ]
    return table(head, rows)


def _by_step(values: dict[str, Any]) -> str:
    """In all, in spreads, then each quantity in its unit."""
    runs = [(f"{counted(run['nfe'], 'evaluation')}, {run['start']}", run) for run in values["runs"]]
    blind = [(BLIND[x["name"]], x) for x in values["baselines"]]

    def drawn(series: Any, factor: float = 1.0) -> list[Line]:
        found = []
        for number, (name, run) in enumerate([*runs, *blind]):
            points = [(float(s), factor * y) for s, y in enumerate(series(run))]
            colour, dashed = COLOURS[number % len(COLOURS)], number >= len(runs)
            found.append(Line(name, points, colour, dashed=dashed))
        return found

    whole = drawn(lambda run: run["error_by_step"])
    plots = [lines(whole, "step", "spreads", "Error by step, in spreads", from_zero=True)]
    for i, about in enumerate(values["quantities"]):
        factor, unit = _shown_unit(about)
        each = drawn(lambda run, i=i: run["quantities"][i]["by_step"], factor)
        label = f"{about['name']}, {unit}" if unit else about["name"]
        plots.append(lines(each, "step", label, f"Error by step of {label}", from_zero=True))
    return f"<div class='pair'>{''.join(plots)}</div>{legend(whole)}"


def _shown_unit(about: dict[str, Any]) -> tuple[float, str]:
    if about["measure"] == "agreement":
        return 100.0, "% differ"
    return in_shown_unit(about["unit"])


def _curves(values: dict[str, Any], found: Offline) -> list[str]:
    """The median episode and the worst one."""
    errors = values["runs"][0]["error_by_episode"]
    order = np.argsort(errors, kind="stable")
    chosen = dict.fromkeys((int(order[(len(order) - 1) // 2]), int(order[-1])))
    sections = ["<h2>Plans over what was recorded</h2>"]
    for number in chosen:
        episode = values["episodes"][number]
        which = "the worst" if number == int(order[-1]) else "the median one"
        sections.append(f"<h3>Episode {episode}, {which}: {errors[number]:.3g} spreads</h3>")
        sections.append(_episode(found, episode))
    first = "" if values["runs"][0]["start"] == ONLY else "The first noise, "
    sections.append(
        f"<p class='caption'>{first}{counted(values['runs'][0]['nfe'], 'evaluation')}, "
        f"{values['runs'][0]['start']}; a plan every {values['n_action_steps']} steps, each drawn "
        f"over all of its {values['plan_steps']}; at most {_LONGEST_CURVE} steps.</p>"
    )
    return sections


def _episode(found: Offline, episode: int) -> str:
    span, moments = found.recorded.dataset.episode(episode), found.moments
    action = found.recorded.action[span][:_LONGEST_CURVE]
    here = np.flatnonzero((moments.episode == episode) & (moments.frame < _LONGEST_CURVE))
    plots, drawn = [], []
    for row in found.rows:
        for column, name, factor, unit in _columns(row):
            recorded = [(float(k), factor * float(x)) for k, x in enumerate(action[:, column])]
            drawn = [Line("recorded", recorded, _RECORDED, width=2.5)]
            for p in here:
                inside = int(moments.inside[p].sum())
                plan = factor * found.plans[p, :inside, column].astype(np.float64)
                k = moments.frame[p] + np.arange(inside)
                points = list(zip(k.tolist(), plan.tolist(), strict=True))
                drawn.append(Line("planned", points, _PLANNED, width=1.0))
            label = f"{name}, {unit}" if unit else name
            plots.append(lines(drawn, "step", label, f"{label}: planned over recorded"))
    return f"<div class='pair'>{''.join(plots)}</div>{legend(drawn)}"


def _columns(row: Quantity) -> list[tuple[int, str, float, str]]:
    """Column, name, factor and unit of each dimension; a rotation has several, in their own."""
    columns = list(range(row.columns.start, row.columns.stop))
    if row.measure == "angle":
        return [(c, f"{row.name}[{i}]", 1.0, "") for i, c in enumerate(columns)]
    factor, unit = (1.0, "") if row.measure == "agreement" else in_shown_unit(row.unit)
    return [(columns[0], row.name, factor * row.factor, unit)]


def _outside(values: dict[str, Any]) -> str:
    if not values["outside"]:
        return ""
    head = ("observation", "frames", "lowest", "highest", "low", "high")
    rows = [
        (x["name"], str(x["frames"]), *(f"{x[key]:.4g}" for key in head[2:]))
        for x in values["outside"]
    ]
    return f"<h2>Seen outside of the range of {values['outside_of']}</h2>{table(head, rows)}"
