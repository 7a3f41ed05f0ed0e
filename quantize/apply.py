"""`quantize`: turn a policy and calibration samples into a quantised policy with its plan."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from ofp_edge import files
from ofp_edge.calibration.choose import DEFAULT_SAMPLES, check_unseen, choose_samples
from ofp_edge.calibration.samples import FILE as SAMPLES_FILE
from ofp_edge.calibration.samples import CalibrationSet, read_samples
from ofp_edge.counted import counted
from ofp_edge.data.open import is_dataset
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import MARKER, Policy, load_policy, policy_files
from ofp_edge.progress import Progress, silent
from ofp_edge.quantize.chunk_errors import compare
from ofp_edge.quantize.functions import build_functions
from ofp_edge.quantize.inputs import ObservationWindows, calls
from ofp_edge.quantize.plan import Layer, Plan, policy_sha256, write_plan
from ofp_edge.quantize.ptq import measure_layers
from ofp_edge.quantize.recipes import METHODS, Recipe, recipe
from ofp_edge.quantize.sensitivity import (
    LayerCost,
    Trial,
    float_macs_percent,
    keep_within_budget,
    measure_sensitivity,
)
from ofp_edge.quantize.sensitivity_report import write_sensitivity
from ofp_edge.quantize.threads import one_thread

DEFAULT_BUDGET_PERCENT = 2.0
DEFAULT_METHOD = "min-max"


@dataclass(frozen=True)
class Quantised:
    """The plan that was written, and the cost of each layer alone where that was measured."""

    plan: Plan
    calibration: CalibrationSet
    sensitivity: tuple[LayerCost, ...]


@one_thread()
def quantize_policy(
    policy_folder: Path,
    recipe_name: str,
    calibration: Path | Sequence[Path],
    output: Path,
    *,
    method: str = DEFAULT_METHOD,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    error_budget_percent: float = DEFAULT_BUDGET_PERCENT,
    sensitivity: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> Quantised:
    """Write a copy of the policy with its plan (quantization.json) and calibration.npz.

    calibration: a dataset or several, or a file of calibration samples. samples: windows to choose
    from datasets. error_budget_percent: how far the mean absolute error of an action dimension may
    be, in percent of its range. sensitivity: also try every layer alone; recipe `mixed` always
    does. Raises PolicyError, DatasetError, SpecMismatch, UnknownName, OutputExists, OfpError.
    """
    chosen = recipe(recipe_name)
    sources = [calibration] if isinstance(calibration, Path) else calibration
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    files.check_output(output, force=force, marker=MARKER)
    if seed < 0:
        raise OfpError(f"--seed {seed}: expected 0 or more.")
    if samples < 1 or not error_budget_percent > 0:
        raise OfpError("--samples must be at least 1 and --error-budget above 0.")
    if sensitivity and not chosen.operations:
        raise OfpError(f"--sensitivity: recipe {chosen.name} quantises no layer. Take int8.")
    policy = load_policy(policy_folder)
    if (why := policy.config.network.refusals.get("quantize")) is not None:
        raise OfpError(f"{policy_folder} {why}")
    chosen = replace(chosen, operations=policy.config.network.quantised(chosen.operations))
    deployed = deploy(policy)
    known = _calibration_set(sources, policy, samples, seed, progress)
    windows, unseen = known.samples, known.held_out
    costs: list[LayerCost] = []
    with files.new_folder(output, force=force, marker=MARKER) as folder:
        for name in policy_files(policy.config):
            shutil.copyfile(policy_folder / name, folder / name)
        (folder / SAMPLES_FILE).write_bytes(known.to_bytes())
        progress(0, 3, "measuring ranges")
        layers = _measure(deployed, chosen, windows, seed, method)
        trial = Trial(deployed, windows, seed, error_budget_percent)
        if sensitivity or chosen.budgeted:
            costs = measure_sensitivity(trial, layers, progress)
        if chosen.budgeted:
            layers = keep_within_budget(trial, layers, costs)
        plan = Plan(
            recipe=chosen.name,
            precision=chosen.precision,
            method=method,
            symmetric=True,
            per_channel_weights=True,
            layers=tuple(layers),
            samples=len(windows),
            seed=seed,
            calibration=known.source,
            calibration_source_sha256=known.source_sha256,
            calibration_sha256=files.sha256_file(folder / SAMPLES_FILE),
            policy_sha256=policy_sha256(folder),
            error_budget_percent=error_budget_percent,
            error=(),
            error_measured_on=_described(unseen),
            float_macs_percent=float_macs_percent(trial.macs(), layers),
            versions={n: metadata.version(n) for n in ("torch", "torchao", "onnxruntime")},
        )
        progress(1, 3, "building the quantised functions")
        functions = build_functions(deployed, plan)
        progress(2, 3, "comparing with float")
        plan = replace(plan, error=compare(deployed, functions, unseen, seed, error_budget_percent))
        write_plan(plan, folder)
        if costs:
            kept = {(x.function, x.name): x.reason for x in plan.layers}
            costs = [replace(cost, kept=kept[cost.function, cost.name]) for cost in costs]
            write_sensitivity(folder, plan, costs)
        progress(3, 3)
    return Quantised(plan, known, tuple(costs))


def _calibration_set(
    sources: Sequence[Path], policy: Policy, samples: int, seed: int, progress: Progress
) -> CalibrationSet:
    if len(sources) == 1 and not is_dataset(sources[0]):
        found = read_samples(sources[0], policy.config.spec)
    else:
        found = choose_samples(sources, policy, samples, seed, progress)
    check_unseen(found, policy, sources)
    return found


def _described(windows: ObservationWindows) -> str:
    episodes = len(set(windows.episode.tolist()))
    return f"{counted(len(windows), 'window')} of {counted(episodes, 'held-out episode')}"


def _measure(
    deployed: Deployed, chosen: Recipe, windows: ObservationWindows, seed: int, method: str
) -> Sequence[Layer]:
    found: list[Layer] = []
    for name, samples in calls(deployed, windows, seed).items():
        inputs = deployed.function(name).inputs
        chunk = [i for i, x in enumerate(inputs) if x.role in ("noise", "committed", "free")]
        found += measure_layers(deployed.modules[name], name, samples, chosen, method, chunk)
    return found
