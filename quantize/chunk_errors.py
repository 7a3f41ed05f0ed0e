"""Compare float with another precision: the error of whole chunks, in robot units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ofp_edge.policy.deployed import Deployed
from ofp_edge.quantize.functions import Modules
from ofp_edge.quantize.inputs import ObservationWindows, act_inputs, encode_inputs
from ofp_edge.quantize.plan import ActionError, action_names, action_ranges
from ofp_edge.spec import PolicySpec


@dataclass(frozen=True)
class Chunks:
    """Chunks of two precisions, same K inputs, (K, horizon, action_dim) in raw action units."""

    exact: NDArray[np.float32]
    other: NDArray[np.float32]


def both_chunks(
    deployed: Deployed, functions: Modules, windows: ObservationWindows, seed: int
) -> Chunks:
    """Run both networks, encoders included, from the same noise; cold, warm and refine rows."""
    spec = deployed.spec
    flat = act_inputs(deployed, windows, seed)
    per_window = len(flat) // len(windows)
    exact, other = [], []
    with torch.no_grad():
        for k, frames in enumerate(encode_inputs(deployed, windows)):
            features = torch.cat([functions["encode"](*frame) for frame in frames], 1)
            for _, (known, *rest) in flat[k * per_window : (k + 1) * per_window]:
                exact.append(deployed.act(known, *rest)[0].numpy())
                other.append(functions["act"](features, *rest)[0].numpy())
    shape = len(exact), spec.plan_steps, spec.action_dim
    return Chunks(np.concatenate(exact).reshape(shape), np.concatenate(other).reshape(shape))


def action_errors(
    spec: PolicySpec, difference: NDArray[np.floating], budget_percent: float
) -> tuple[ActionError, ...]:
    """Return largest and mean |difference| per action dimension; (..., action_dim) raw units."""
    raw = np.abs(difference).reshape(-1, spec.action_dim)
    scale = np.asarray(spec.action_scale)
    largest, mean = raw.max(0) * scale, raw.mean(0) * scale
    budget = np.asarray(action_ranges(spec)) * scale * budget_percent / 100
    return tuple(
        ActionError(name, unit, float(largest[i]), float(mean[i]), float(budget[i]))
        for i, (name, unit) in enumerate(zip(action_names(spec), spec.action_units, strict=True))
    )


def compare(
    deployed: Deployed,
    functions: Modules,
    windows: ObservationWindows,
    seed: int,
    error_budget_percent: float,
) -> tuple[ActionError, ...]:
    """Return the errors of `both_chunks`, in each action dimension's physical unit."""
    chunks = both_chunks(deployed, functions, windows, seed)
    return action_errors(deployed.spec, chunks.other - chunks.exact, error_budget_percent)
