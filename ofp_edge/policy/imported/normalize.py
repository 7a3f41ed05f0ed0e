"""Normalise as LeRobot does, operation by operation, so that not a bit differs.

    mean_std   (x - mean) / (std + eps)            back: x std + mean
    min_max    2 (x - min) / (max - min) - 1       back: (x + 1) / 2 (max - min) + min
    min_max_eps  older: (x - min) / (max - min + eps) 2 - 1, back without the eps
    quantiles  2 (x - low) / (high - low) - 1      back: (x + 1) (high - low) / 2 + low

Where max = min the span is eps. `scale_offset` is Diffusion Policy's own, x scale + offset, back:
(x - offset) / scale; its scale stands in `std`, its offset in `mean`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.parts import Actions
from ofp_edge.spec import PolicySpec

_EPS = 1e-8
NORMALIZATIONS = (
    "identity", "mean_std", "min_max", "min_max_eps", "quantiles", "scale_offset",
)  # fmt: skip


def require_modes(modes: Mapping[str, str], spec: PolicySpec) -> str:
    """Return the mode of the actions. PolicyError unless every field has one, and all actions the
    same."""
    names = {f.name for f in spec.observations} | {f.name for f in spec.actions}
    if set(modes) != names:
        raise PolicyError("config.network.normalization: expected one entry for each field.")
    found = {modes[f.name] for f in spec.actions}
    if len(found) != 1:
        raise PolicyError("config.network.normalization: expected the same for all actions.")
    return found.pop()


class ModeNormalize(Actions):
    """Maps x (B, D, ...) between physical units and the network's; constants are not trained."""

    first: Tensor
    second: Tensor
    span: Tensor

    def __init__(self, mode: str, statistics: FieldStatistics, axes: int, repeat: int = 1) -> None:
        super().__init__()
        self.mode = mode
        ends = mode in ("min_max", "min_max_eps", "quantiles")
        pair = (statistics.low, statistics.high) if ends else (statistics.mean, statistics.std)
        shape = (1, -1) + (1,) * (axes - 2)
        for name, values in zip(("first", "second"), pair, strict=True):
            buffer = torch.tensor(values, dtype=torch.float32).repeat(repeat).view(shape)
            self.register_buffer(name, buffer, persistent=False)
        span = self.second - self.first
        span = torch.where(span == 0, torch.full_like(span, _EPS), span)
        self.register_buffer("span", span, persistent=False)
        slope = {
            "scale_offset": 1 / self.second,
            "mean_std": self.second,
            "identity": torch.ones_like(self.first),
        }.get(mode, self.span / 2)
        self.register_buffer("slope", slope, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise physical values."""
        if self.mode == "mean_std":
            return (x - self.first) / (self.second + _EPS)
        if self.mode in ("min_max", "quantiles"):
            return 2 * (x - self.first) / self.span - 1
        if self.mode == "min_max_eps":
            return (x - self.first) / (self.second - self.first + _EPS) * 2 - 1
        if self.mode == "scale_offset":
            return x * self.second + self.first
        return x

    def back(self, x: Tensor) -> Tensor:
        """Return normalised values in physical units."""
        if self.mode == "mean_std":
            return x * self.second + self.first
        if self.mode == "min_max_eps":
            return (x + 1) / 2 * (self.second - self.first) + self.first
        if self.mode == "min_max":
            return (x + 1) / 2 * self.span + self.first
        if self.mode == "quantiles":
            return (x + 1.0) * self.span / 2.0 + self.first
        if self.mode == "scale_offset":
            return (x - self.first) / self.second
        return x
