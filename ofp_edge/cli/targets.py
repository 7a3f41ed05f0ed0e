"""`ofp-edge targets`: what bundles can be compiled for."""

from __future__ import annotations

import typer
from rich.table import Table

from ofp_edge.cli.output import Document, Output, add_command


def targets(output: Output) -> Document:
    """List targets, their engines and precisions, and the boards each fits."""
    from ofp_edge.quantize.recipes import RECIPES
    from ofp_edge.targets.registry import TARGETS, boards_of, orin_boards_of, target, unfit_reason

    found = []
    for item in map(target, TARGETS):
        fitting, orins = boards_of(item.name), orin_boards_of(item.name)
        output.console.print(f"[bold]{item.name}[/]: {item.summary}")
        output.console.print(f"  engines     {', '.join(item.engines)}")
        precisions = [*item.float_precisions, *item.plan_precisions]
        output.console.print(f"  precisions  {', '.join(precisions)}")
        recipes = [r.name for r in RECIPES.values() if unfit_reason(item, r) is None]
        output.console.print(f"  recipes     {', '.join(recipes)}")
        for name, reason in item.unfit.items():
            output.console.print(f"  no {name}:    {reason}")
        if fitting:
            table = Table("board", "CPU", "threads", "fp32 GFLOPS", "int8 GOPS", "GB/s")
            for x in fitting:
                table.add_row(
                    x.name,
                    x.cpu,
                    str(x.threads),
                    f"{x.fp32_gflops:g}",
                    f"{x.int8_gops:g}",
                    f"{x.bandwidth_gb_s:g}",
                )
            output.console.print(table)
        if orins:
            table = Table("board", "module", "GPU MHz", "fp32 TFLOPS", "fp16", "int8 TOPS", "GB/s")
            for y in orins:
                tera = (f"{y.peak(p, y.gpu_hz) / 1e12:.1f}" for p in ("fp32", "fp16", "int8"))
                clock = f"{y.gpu_hz / 1e6:.0f}"
                table.add_row(y.name, y.title, clock, *tera, f"{y.bandwidth_gb_s:g}")
            output.console.print(table)
        found.append(
            {
                "name": item.name,
                "summary": item.summary,
                "engines": list(item.engines),
                "precisions": precisions,
                "recipes": recipes,
                "unfit": item.unfit,
                "boards": [*(x.to_json() for x in fitting), *(y.to_json() for y in orins)],
            }
        )
    return {"targets": found}


KEYS = ("targets",)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "targets", targets, KEYS)
