"""`ofp-edge quantize`: a policy and calibration samples in, the policy with a plan out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.extras import require


def quantize(
    output: Output,
    policy: Annotated[Path, typer.Argument(help="Policy folder that train wrote.")],
    calibration: Annotated[
        Path,
        typer.Option(
            "--calibration", help="Dataset; samples come from its training episodes only."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Policy folder to write.")],
    recipe: Annotated[
        str, typer.Option("--recipe", help="fp32 or int8 (static, symmetric).")
    ] = "int8",
    samples: Annotated[
        int, typer.Option("--samples", help="Calibration samples: observation windows.")
    ] = 128,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of samples, and noise.")] = 0,
    error_budget: Annotated[
        float,
        typer.Option("--error-budget", help="Mean error allowed per action, percent of its range."),
    ] = 2.0,
    force: Force = False,
) -> Document:
    """Quantise a policy by static calibration and state the error in robot units."""
    from ofp_edge.quantize.recipes import recipe as known_recipe

    known_recipe(recipe)  # before the slow imports
    for module in ("torch", "torchao", "safetensors"):
        require(module, "quantize")
    from ofp_edge.quantize.apply import quantize_policy

    with output.progress("quantising") as progress:
        plan = quantize_policy(
            policy, recipe, calibration, out, samples=samples, seed=seed,
            error_budget_percent=error_budget, force=force, progress=progress,
        )  # fmt: skip
    table = Table(title=f"float against {plan.precision}, {plan.error_measured_on}")
    for column in ("action", "unit", "max error", "mean error", "budget (mean)", ""):
        table.add_column(column, justify="left" if column in ("action", "unit") else "right")
    for item in plan.error:
        verdict = "ok" if item.mean <= item.budget else "[bold red]over budget[/]"
        name = item.name.replace("[", r"\[")
        table.add_row(
            name, item.unit, f"{item.max:.4g}", f"{item.mean:.4g}", f"{item.budget:.4g}", verdict
        )
    output.console.print(table)
    low = sum(layer.reason is None for layer in plan.layers)
    output.console.print(
        f"{low} of {len(plan.layers)} layers in {plan.precision}; {plan.samples} calibration "
        f"samples; written to {out}"
    )
    return {
        "policy": out,
        "recipe": plan.recipe,
        "precision": plan.precision,
        "layers": [
            {"function": x.function, "name": x.name, "precision": x.precision, "reason": x.reason}
            for x in plan.layers
        ],
        "samples": plan.samples,
        "error": [
            {"name": x.name, "unit": x.unit, "max": x.max, "mean": x.mean, "budget": x.budget}
            for x in plan.error
        ],
        "error_measured_on": plan.error_measured_on,
        "within_budget": all(x.mean <= x.budget for x in plan.error),
        "calibration_sha256": plan.calibration_sha256,
        "policy_sha256": plan.policy_sha256,
    }


KEYS = (
    "policy", "recipe", "precision", "layers", "samples", "error", "error_measured_on",
    "within_budget", "calibration_sha256", "policy_sha256",
)  # fmt: skip


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "quantize", quantize, KEYS)
