"""Write what is committed of a chunk into the inputs of `act`, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ofp_edge.manifest import Committed
from ofp_edge.spec import PolicySpec

if TYPE_CHECKING:
    from ofp_edge.runtime.runners import Runner

FARTHEST = 2.0
"""Demonstrations lie within 1. What is fed back, or told, beyond this was never seen in training,
and could grow from one start to the next."""


class PrefixInputs:
    """The two inputs `committed` and `mask` of `act`.

    values (horizon, action_dim), mask (horizon,): the inputs' own memory, as `act` was given it
    last. steps: the longest prefix that the policy was trained with.
    """

    def __init__(self, act: Runner, spec: PolicySpec, committed: Committed) -> None:
        self.values = act.inputs["committed"].reshape(spec.horizon, spec.action_dim)
        self.mask = act.inputs["mask"].reshape(spec.horizon)
        self.steps = committed.steps
        self._first = spec.start_index
        self._scale = np.asarray(committed.scale, np.float32)
        self._offset = np.asarray(committed.offset, np.float32)

    def normalised(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return raw actions (d, action_dim) in the network's scale, as many as it was trained to
        be told: the first ones."""
        told = raw[: self.steps]
        found: NDArray[np.float32] = ((told - self._offset) / self._scale).astype(np.float32)
        return np.clip(found, -FARTHEST, FARTHEST, out=found)

    def write(self, normalised: NDArray[np.float32] | None) -> None:
        """Commit the first d actions from the observation on, (d, action_dim); None: nothing.
        ValueError for more than the policy was trained with."""
        self.values.fill(0)
        self.mask.fill(0)
        if normalised is None:
            return
        count = len(normalised)
        if count > self.steps:
            raise ValueError(f"{count} committed steps: trained with up to {self.steps}")
        end = self._first + count
        self.values[self._first : end] = normalised
        self.mask[self._first : end] = 1
