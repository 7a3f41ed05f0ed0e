"""`quantize`: a policy and calibration data in, the policy with its plan out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ofp_edge import files
from ofp_edge.calibration.samples import (
    FILE as SAMPLES_FILE,
)
from ofp_edge.calibration.samples import (
    ObservationWindows,
    choose_windows,
    save_windows,
)
from ofp_edge.data.dataset import Dataset, open_dataset
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import MARKER, load_policy
from ofp_edge.progress import Progress, silent
from ofp_edge.quantize.inputs import Inputs, act_inputs, encode_inputs
from ofp_edge.quantize.plan import (
    ActionError,
    Layer,
    Plan,
    action_names,
    action_ranges,
    policy_sha256,
    write_plan,
)
from ofp_edge.quantize.ptq import build_quantized, measure_layers
from ofp_edge.quantize.recipes import Recipe, recipe
from ofp_edge.quantize.threads import one_thread

DEFAULT_SAMPLES = 128
DEFAULT_BUDGET_PERCENT = 2.0
_STAGES = 5


@dataclass(frozen=True)
class Functions:
    """The two deployed functions in one precision, as torch modules."""

    encode: nn.Module
    act: nn.Module


def build_functions(deployed: Deployed, plan: Plan) -> Functions:
    """The quantised functions that a plan describes."""
    frame = tuple(torch.zeros(x.shape) for x in deployed.encode_inputs)
    spec = deployed.spec
    call = (
        torch.zeros(1, spec.n_obs_steps * deployed.feature_dim),
        torch.zeros(1, spec.horizon * spec.action_dim),
        torch.tensor([deployed.time_rows[0].row]),
    )
    return Functions(
        build_quantized(deployed.encode, "encode", frame, plan),
        build_quantized(deployed.act, "act", call, plan),
    )


@one_thread()
def quantize_policy(
    policy_folder: Path,
    recipe_name: str,
    calibration: Path,
    output: Path,
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    error_budget_percent: float = DEFAULT_BUDGET_PERCENT,
    force: bool = False,
    progress: Progress = silent,
) -> Plan:
    """Write a copy of the policy with its plan (quantization.json) and calibration.npz.

    samples: observation windows, from training episodes. error_budget_percent: how far the mean
    absolute error of an action dimension may be, in percent of its range. Raises PolicyError,
    DatasetError, SpecMismatch, UnknownName, OutputExists.
    """
    chosen = recipe(recipe_name)
    files.check_output(output, force=force, marker=MARKER)
    if seed < 0:
        raise OfpError(f"--seed {seed}: expected 0 or more.")
    if samples < 1 or not error_budget_percent > 0:
        raise OfpError("--samples must be at least 1 and --error-budget above 0.")
    policy = load_policy(policy_folder)
    deployed = deploy(policy)
    progress(0, _STAGES, "reading the dataset")
    dataset = open_dataset(calibration)
    train, held_out = _episodes(dataset, policy.config.training.held_out,
                                policy.config.training.dataset_sha256)  # fmt: skip
    windows = choose_windows(dataset, deployed.spec, train, samples, seed)
    unseen = choose_windows(dataset, deployed.spec, held_out, samples, seed + 1)
    with files.new_folder(output, force=force, marker=MARKER) as folder:
        for name in ("config.json", "model.safetensors", "statistics.json"):
            shutil.copyfile(policy_folder / name, folder / name)
        save_windows(windows, folder)
        progress(1, _STAGES, "measuring ranges")
        plan = Plan(
            recipe=chosen.name, precision=chosen.precision, method="min-max", symmetric=True,
            per_channel_weights=True, layers=(), samples=len(windows), seed=seed,
            calibration=calibration.name, calibration_dataset_sha256=dataset.sha256,
            calibration_sha256=files.sha256_file(folder / SAMPLES_FILE),
            policy_sha256=policy_sha256(folder), error_budget_percent=error_budget_percent,
            error=(),
            error_measured_on=f"{len(unseen)} windows of {len(held_out)} held-out episodes",
            versions={n: metadata.version(n) for n in ("torch", "torchao")},
        )  # fmt: skip
        plan = replace(plan, layers=tuple(_measure(deployed, chosen, windows, seed)))
        progress(2, _STAGES, "building the quantised functions")
        functions = build_functions(deployed, plan)
        progress(3, _STAGES, "comparing with float")
        plan = replace(plan, error=compare(deployed, functions, unseen, seed, error_budget_percent))
        write_plan(plan, folder)
        progress(_STAGES, _STAGES)
    return plan


def compare(
    deployed: Deployed,
    functions: Functions,
    windows: ObservationWindows,
    seed: int,
    error_budget_percent: float,
) -> tuple[ActionError, ...]:
    """Float against quantised, encoder included, same noise, cold, warm and refine rows.

    Errors are those of the whole chunk, in each action dimension's physical unit.
    """
    spec = deployed.spec
    flat = act_inputs(deployed, windows, seed)
    per_window = len(flat) // len(windows)
    differences = []
    with torch.no_grad():
        for k, frames in enumerate(encode_inputs(deployed, windows)):
            features = torch.cat([functions.encode(*frame) for frame in frames], 1)
            for _, (exact, z, row) in flat[k * per_window : (k + 1) * per_window]:
                difference = functions.act(features, z, row)[0] - deployed.act(exact, z, row)[0]
                differences.append(difference.view(spec.horizon, spec.action_dim).abs().numpy())
    raw: NDArray[np.float32] = np.concatenate(differences)
    scale = np.asarray(spec.action_scale)
    largest, mean = raw.max(0) * scale, raw.mean(0) * scale
    budget = np.asarray(action_ranges(spec)) * scale * error_budget_percent / 100
    return tuple(
        ActionError(name, unit, float(largest[i]), float(mean[i]), float(budget[i]))
        for i, (name, unit) in enumerate(zip(action_names(spec), spec.action_units, strict=True))
    )


def _measure(
    deployed: Deployed, chosen: Recipe, windows: ObservationWindows, seed: int
) -> list[Layer]:
    frames: list[Inputs] = [f for frames in encode_inputs(deployed, windows) for f in frames]
    calls = [values for _, values in act_inputs(deployed, windows, seed)]
    return [
        *measure_layers(deployed.encode, "encode", frames, chosen),
        *measure_layers(deployed.act, "act", calls, chosen),
    ]


def _episodes(
    dataset: Dataset, trained_without: Sequence[int], trained_on: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Training and held-out episodes; they share none, whatever the policy's own record says."""
    split = dataset.split()
    if trained_on != dataset.sha256:
        return split.train, split.held_out
    train = tuple(e for e in split.train if e not in set(trained_without))
    held_out = tuple(sorted(set(trained_without) - set(train))) or split.held_out
    if not train:
        raise PolicyError(f"{dataset.path}: the policy was trained on none of its episodes.")
    return train, held_out
