"""A runner that computes nothing: for tests, and to measure what everything else costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.functions import Tensor
from ofp_edge.runtime.runners.buffers import allocate


class NullRunner:
    """A runner whose outputs keep the values given (zeros otherwise); `calls` counts `infer`.

    values: by output name, broadcast to the output's shape.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self.inputs: dict[str, NDArray[Any]] = allocate(inputs)
        self.outputs: dict[str, NDArray[Any]] = allocate(outputs)
        self.calls = 0
        for name, value in (values or {}).items():
            np.copyto(self.outputs[name], value)

    def warm_up(self, runs: int = 3) -> None:
        """Do nothing."""

    def infer(self) -> None:
        """Count the call."""
        self.calls += 1

    def close(self) -> None:
        """Do nothing."""
