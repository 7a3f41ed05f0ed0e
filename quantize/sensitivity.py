"""Measure each layer's rounding, alone in int8, and find the fewest layers to keep in float.

The error is that of whole chunks against float, encoder included, for the same noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ofp_edge.policy.deployed import Deployed
from ofp_edge.progress import Progress, silent
from ofp_edge.quantize.chunk_errors import action_errors
from ofp_edge.quantize.inputs import ObservationWindows, calls
from ofp_edge.quantize.plan import ActionError, Layer
from ofp_edge.quantize.simulate import in_batches, in_int8, macs
from ofp_edge.quantize.units import shown

FILE = "sensitivity.json"
SCHEMA_VERSION = 1
TO_SPARE = 0.8
"""The share of the budget for `mixed` on the calibration samples: unseen windows differ."""
_WINDOWS = 48


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer alone in int8. share: the worst dimension's mean error over its budget;
    macs: its multiplications a call; kept: why the plan leaves it in float, if it does."""

    function: str
    name: str
    operation: str
    macs: int
    error: tuple[ActionError, ...]
    share: float
    kept: str | None = None

    @property
    def worst(self) -> ActionError:
        """Return the dimension with the largest mean error for its budget."""
        return max(self.error, key=lambda e: e.mean / e.budget)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "error": [asdict(e) for e in self.error]}


class Trial:
    """Compares chunks of a policy with any layers in int8, on the same observations and noise.

    At most 48 of the windows, evenly spaced.
    """

    def __init__(
        self, deployed: Deployed, windows: ObservationWindows, seed: int, budget_percent: float
    ) -> None:
        keep = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), _WINDOWS)).astype(int))
        windows = windows.take(keep)
        self.deployed, self.budget_percent = deployed, budget_percent
        self._every = calls(deployed, windows, seed)
        self._frames, self._calls = self._every["encode"], self._every["act"]
        self._rows = len(self._calls) // len(windows)
        self._exact = in_batches(deployed.act, self._calls)

    def macs(self) -> dict[tuple[str, str], int]:
        """Return the multiplications by (function, layer), for one call of each function."""
        return {
            (function, name): count
            for function, samples in self._every.items()
            for name, count in macs(self.deployed.modules[function], samples[0]).items()
        }

    def error(self, layers: Sequence[Layer]) -> tuple[ActionError, ...]:
        """Return the error with these layers in int8 and all others in float."""
        spec, samples = self.deployed.spec, self._calls
        encode = [layer for layer in layers if layer.function == "encode"]
        act = [layer for layer in layers if layer.function == "act"]
        if encode:
            with in_int8(self.deployed.encode, encode):
                features = in_batches(self.deployed.encode, self._frames)
            seen = features.view(-1, spec.n_obs_steps * features.shape[1])
            seen = seen.repeat_interleave(self._rows, 0)
            samples = [(seen[k : k + 1], *call[1:]) for k, call in enumerate(samples)]
        with in_int8(self.deployed.act, act):
            chunk = in_batches(self.deployed.act, samples)
        difference = (chunk - self._exact).view(-1, spec.action_dim)
        return action_errors(spec, difference.numpy(), self.budget_percent)

    def share(self, layers: Sequence[Layer]) -> float:
        """Return the worst dimension's mean error over its budget; at most 1 is within it."""
        return max(e.mean / e.budget for e in self.error(layers))


def measure_sensitivity(
    trial: Trial, layers: Sequence[Layer], progress: Progress = silent
) -> list[LayerCost]:
    """Measure every layer that could be int8, each alone; return the costliest first."""
    count = trial.macs()
    found = []
    candidates = [layer for layer in layers if layer.input is not None]
    for k, layer in enumerate(candidates):
        progress(k, len(candidates), layer.name)
        error = trial.error([layer])
        found.append(
            LayerCost(
                layer.function,
                layer.name,
                layer.operation,
                count[layer.function, layer.name],
                error,
                max(e.mean / e.budget for e in error),
            )
        )
    progress(len(candidates), len(candidates))
    return sorted(found, key=lambda cost: -cost.share)


def keep_within_budget(
    trial: Trial, layers: Sequence[Layer], ranked: Sequence[LayerCost]
) -> list[Layer]:
    """Return the layers with the fewest in float that meet the error budget, and why each is.

    "Meet" is within four fifths of the budget on the trial's windows; what the plan states is
    measured on unseen ones. The costliest are put into float one by one until the budget is met;
    then each of them goes back to int8 if it is met without it too. So none of them can be spared;
    a smaller set of quite other layers is not searched for.
    """
    by_name = {(layer.function, layer.name): layer for layer in layers}
    costs = {(cost.function, cost.name): cost for cost in ranked}
    order = [key for key in costs if by_name[key].precision == "int8"]
    kept: list[tuple[str, str]] = []

    def met(without: Sequence[tuple[str, str]]) -> bool:
        return trial.share([by_name[key] for key in order if key not in without]) <= TO_SPARE

    while not met(kept) and len(kept) < len(order):
        kept.append(order[len(kept)])
    for key in reversed(kept[:-1]):
        rest = [other for other in kept if other != key]
        if met(rest):
            kept = rest
    for key in kept:
        worst = costs[key].worst
        reason = (
            f"alone in int8 it costs {shown(worst.mean, worst.unit)} of {worst.name} in the mean; "
            "without it the error budget is not met"
        )
        by_name[key] = replace(by_name[key], precision="fp32", reason=reason)
    return list(by_name.values())


def float_macs_percent(
    count: Mapping[tuple[str, str], int], layers: Sequence[Layer]
) -> float:  # fmt: skip
    """Return how much of the multiplications of one `encode` and one `act` stays in float."""
    left = sum(count[x.function, x.name] for x in layers if x.precision == "fp32")
    return 100 * left / max(1, sum(count.values()))
