"""The file report.html: tables and plots that need nothing else."""

from __future__ import annotations

from html import escape

from ofp_edge.bench import findings, plots, tables
from ofp_edge.bench.document import Document, begun
from ofp_edge.bench.markdown import summary
from ofp_edge.bench.tables import TextTable
from ofp_edge.report.html import facts, flat, page, table


def render(values: Document) -> str:
    """Return the whole page."""
    suite = values["suite"]
    sections = [
        f"<h1>Benchmark {escape(suite['name'])}</h1>",
        f"<p class='sub'>{escape(summary(values))}</p>",
        _findings(values),
        _table(findings.comparisons(values)),
        _table(tables.success(values)),
        _success_plots(values),
        _nfe_plots(values),
        _table(tables.modes(values)),
        _table(tables.tuning(values)),
        _table(tables.motion(values)),
        _table(tables.costs(values)),
        _cost_plots(values),
        "<h2>How it was made</h2>",
        facts(
            [
                ("command", " ".join(values["command"])),
                ("ofp-edge", values["ofp_edge"]),
                ("run on", f"{values['run_on']}, {values['workers']} at a time"),
                ("seeds", ", ".join(map(str, suite["seeds"]))),
                *flat(values["fingerprint"]),
            ]
        ),
        "<p class='caption'>Every figure, seed and episode is in results.json.</p>",
    ]
    return page(f"Benchmark {suite['name']}", sections)


def _findings(values: Document) -> str:
    said = findings.findings(values)
    lines = "".join(f"<li>{escape(line)}</li>" for line in said)
    return f"<ul>{lines}</ul>" if said else ""


def _table(found: TextTable | None) -> str:
    if found is None:
        return ""
    return (
        f"<h2>{escape(found.title)}</h2>{table(found.head, found.rows, found.text_columns)}"
        f"<p class='caption'>{escape(found.caption)}</p>"
    )


def _success_plots(values: Document) -> str:
    return _pairs(
        [
            (plots.short_task(values, task), plots.success_bars(values, task))
            for task in begun(values)
        ]
    )


def _nfe_plots(values: Document) -> str:
    groups = dict.fromkeys(task["group"] for task in values["suite"]["tasks"])
    found = _pairs([(f"{g} tasks", plots.success_over_nfe(values, g)) for g in groups])
    if not found:
        return ""
    return f"<h2>Success against network evaluations</h2>{found}{plots.legend(values)}"


def _cost_plots(values: Document) -> str:
    return _pairs(
        [
            (
                "step, relative to flow",
                plots.cost_bars(values, "relative_to_flow", "Time of a step relative to flow"),
            ),
            (
                "memory of training, MiB",
                plots.cost_bars(values, "training_memory_mib", "Memory of training, MiB"),
            ),
        ]
    )


def _pairs(titled: list[tuple[str, str]]) -> str:
    drawn = [f"<div><h3>{escape(title)}</h3>{svg}</div>" for title, svg in titled if svg]
    return f"<div class='pair'>{''.join(drawn)}</div>" if drawn else ""
