"""`ofp-edge quantize`: a policy and calibration samples in, the policy with a plan out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.table import Table

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.extras import require_installed

if TYPE_CHECKING:
    from ofp_edge.quantize.apply import Quantised
    from ofp_edge.quantize.gate import Gate
    from ofp_edge.quantize.plan import Plan
    from ofp_edge.quantize.sensitivity import LayerCost


def quantize(
    output: Output,
    policy: Annotated[Path, typer.Argument(help="Policy folder that train wrote.")],
    calibration: Annotated[
        list[Path],
        typer.Option(
            "--calibration",
            help="Dataset (samples come from its training episodes; repeatable), or what calibrate "
            "samples wrote.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Policy folder to write.")],
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            help="int8 (static, symmetric), mixed (int8, the fewest layers in float that meet the "
            "error budget), fp16 or fp32.",
        ),
    ] = "int8",
    method: Annotated[
        str, typer.Option("--method", help="Ranges: min-max, percentile, entropy or mse.")
    ] = "min-max",
    target: Annotated[
        str | None, typer.Option("--target", help="Refuse a recipe that this target can't run.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", help="Calibration samples to choose from a dataset.")
    ] = 128,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of samples, and noise.")] = 0,
    error_budget: Annotated[
        float,
        typer.Option("--error-budget", help="Mean error allowed per action, percent of its range."),
    ] = 2.0,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity",
            help="Try each layer alone in int8: sensitivity.json and .html beside the plan.",
        ),
    ] = False,
    gate: Annotated[
        bool,
        typer.Option("--gate", help="Check the result against float: gate.json beside the plan."),
    ] = False,
    task: Annotated[
        str | None, typer.Option(help="Task of the gate's episodes. Default: the policy's own.")
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            help="Pairs of the gate's closed loop, at least 100; 0 leaves it out. Default: 500."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes of the gate's episodes.")] = 2,
    force: Force = False,
) -> Document:
    """Quantise a policy by static calibration and state the error in robot units."""
    from ofp_edge.quantize.recipes import METHODS
    from ofp_edge.quantize.recipes import recipe as known_recipe
    from ofp_edge.targets.registry import require_fit

    known_recipe(recipe)  # before the slow imports
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if target is not None:
        require_fit(target, recipe)
    for module in ("torch", "torchao", "safetensors"):
        require_installed(module, "quantize")
    from ofp_edge.quantize.apply import quantize_policy

    if gate:
        from ofp_edge.evaluate.gate import EPISODES, check_episodes, run_gate
        from ofp_edge.policy.folder import read_config

        pairs = EPISODES if episodes is None else episodes
        check_episodes(pairs)
        if episodes and task is None and read_config(policy).task is None:
            raise OfpError(
                f"--episodes {episodes}: {policy} was not trained on one task that they could be "
                "run on. Give a simulated one with --task."
            )
    with output.progress("quantising") as progress:
        done = quantize_policy(
            policy,
            recipe,
            calibration,
            out,
            method=method,
            samples=samples,
            seed=seed,
            error_budget_percent=error_budget,
            sensitivity=sensitivity,
            force=force,
            progress=progress,
        )
    plan = done.plan
    _show_errors(output, plan)
    if done.sensitivity:
        _show_sensitivity(output, done.sensitivity)
    low = sum(layer.precision != "fp32" for layer in plan.layers)
    output.console.print(
        f"{low} of {len(plan.layers)} layers in {plan.precision}, {plan.float_macs_percent:.1f} % "
        f"of the multiplications in float; {plan.samples} calibration samples; written to {out}",
        soft_wrap=True,
    )
    judged = None
    if gate:
        with output.progress("gate") as progress:
            judged = run_gate(out, task=task, episodes=pairs, workers=workers, progress=progress)
        _show_gate(output, judged)
    return _document(out, done, judged)


def _document(out: Path, done: Quantised, judged: Gate | None) -> Document:
    plan = done.plan
    return {
        "policy": out,
        "recipe": plan.recipe,
        "precision": plan.precision,
        "method": plan.method,
        "layers": [
            {"function": x.function, "name": x.name, "precision": x.precision, "reason": x.reason}
            for x in plan.layers
        ],
        "float_macs_percent": plan.float_macs_percent,
        "samples": plan.samples,
        "coverage": asdict(done.calibration.coverage),
        "error": [
            {"name": x.name, "unit": x.unit, "max": x.max, "mean": x.mean, "budget": x.budget}
            for x in plan.error
        ],
        "error_measured_on": plan.error_measured_on,
        "within_budget": all(x.mean <= x.budget for x in plan.error),
        "sensitivity": [cost.to_json() for cost in done.sensitivity],
        "gate": None if judged is None else {"passed": judged.passed, **asdict(judged)},
        "calibration_sha256": plan.calibration_sha256,
        "policy_sha256": plan.policy_sha256,
    }


def _show_errors(output: Output, plan: Plan) -> None:
    from ofp_edge.quantize.units import shown

    table = Table(title=f"float against {plan.precision}, {plan.error_measured_on}")
    for column in ("action", "max error", "mean error", "budget (mean)", ""):
        table.add_column(column, justify="left" if column == "action" else "right")
    for item in plan.error:
        verdict = "ok" if item.mean <= item.budget else "[bold red]over budget[/]"
        told: list[Any] = [shown(x, item.unit) for x in (item.max, item.mean, item.budget)]
        table.add_row(item.name.replace("[", r"\["), *told, verdict)
    output.console.print(table)


def _show_sensitivity(output: Output, costs: Sequence[LayerCost]) -> None:
    from ofp_edge.quantize.sensitivity_report import HEAD, cells

    title = "each layer alone in int8, on calibration samples"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(HEAD):
        side: Literal["left", "right"] = "right" if i in (2, 3, 4) else "left"
        table.add_column(name, justify=side, overflow="fold", no_wrap=i > 0)
    macs = sum(cost.macs for cost in costs)
    for cost in costs:
        row = cells(cost, macs)
        table.add_row(*(cell.replace("[", r"\[") for cell in row[:-1]), row[-1].split(":")[0])
    output.console.print(table)


def _show_gate(output: Output, gate: Gate) -> None:
    for check in gate.checks:
        verdict = {True: "ok", False: "[bold red]failed[/]", None: "[yellow]–[/]"}[check.passed]
        says = check.says.replace("[", r"\[")
        output.console.print(f"{check.name}: {says}  {verdict}", soft_wrap=True)
    if gate.passed:
        output.console.print("gate passed")
        return
    for check in gate.failed:
        says = check.says.replace("[", r"\[")
        output.log.print(f"[bold red]gate failed[/], {check.name}: {says}", soft_wrap=True)
    output.exit_code = 1


KEYS = (
    "policy", "recipe", "precision", "method", "layers", "float_macs_percent", "samples",
    "coverage", "error", "error_measured_on", "within_budget", "sensitivity", "gate",
    "calibration_sha256", "policy_sha256",
)  # fmt: skip


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "quantize", quantize, KEYS)
