"""Report the ranked layers as a JSON document and as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ofp_edge.files import write_bytes, write_json
from ofp_edge.quantize.plan import Plan
from ofp_edge.quantize.sensitivity import FILE, SCHEMA_VERSION, LayerCost
from ofp_edge.quantize.units import shown
from ofp_edge.report.bars import Bar, bar_chart
from ofp_edge.report.html import facts, page, table

PAGE = "sensitivity.html"
HEAD = ("layer", "worst action", "mean error", "of budget", "MACs", "in the plan")


def write_sensitivity(folder: Path, plan: Plan, costs: Sequence[LayerCost]) -> None:
    """Write sensitivity.json and sensitivity.html beside the plan; costs: the costliest first."""
    write_json(
        folder / FILE,
        {
            "schema_version": SCHEMA_VERSION,
            "recipe": plan.recipe,
            "method": plan.method,
            "error_budget_percent": plan.error_budget_percent,
            "float_macs_percent": plan.float_macs_percent,
            "measured_on": "calibration samples",
            "layers": [cost.to_json() for cost in costs],
        },
    )
    write_bytes(folder / PAGE, render(plan, costs).encode())


def render(plan: Plan, costs: Sequence[LayerCost]) -> str:
    """Render one page: a bar for each layer's error over its budget, and the figures."""
    known = facts(
        [
            ("recipe", plan.recipe),
            ("ranges", plan.method),
            ("measured", "each layer alone in int8 against float, on calibration samples"),
            ("budget", f"{plan.error_budget_percent:g} % of each action's range, mean error"),
            ("left in float", f"{plan.float_macs_percent:.1f} % of the multiplications"),
        ]
    )
    rows = [cells(cost, sum(c.macs for c in costs)) for cost in costs]
    sections = (
        "<h1>Sensitivity to int8</h1>",
        known,
        bars(costs),
        table(HEAD, rows, 2, ends_in_words=True),
    )
    return page("Sensitivity to int8", sections)


def cells(cost: LayerCost, macs: int) -> tuple[str, ...]:
    """Return one row of the table, as text; macs: of all layers."""
    worst = cost.worst
    return (
        f"{cost.function}.{cost.name}",
        worst.name,
        shown(worst.mean, worst.unit),
        f"{100 * cost.share:.1f} %",
        f"{100 * cost.macs / max(1, macs):.1f} %",
        "int8" if cost.kept is None else f"float: {cost.kept}",
    )


def bars(costs: Sequence[LayerCost]) -> str:
    """Draw an SVG bar per layer, as long as its share of the budget; float ones are hollow."""
    rows = [
        Bar(
            f"{cost.function}.{cost.name}",
            100 * cost.share,
            f"{100 * cost.share:.1f} %",
            hollow=cost.kept is not None,
        )
        for cost in costs
    ]
    hollow = "; hollow: float in the plan" if any(bar.hollow for bar in rows) else ""
    legend = f"of the error budget{hollow}"
    return bar_chart(rows, "Error of each layer alone", caption=legend)
