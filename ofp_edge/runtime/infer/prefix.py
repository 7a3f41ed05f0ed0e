"""Write what is committed of a chunk into the inputs of `act`, in place.

It is on every plan's way: views of every length are made once, and arrays of one shape are
computed with, because spreading a row over several costs numpy four times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ofp_edge.manifest import Committed
from ofp_edge.spec import PolicySpec

if TYPE_CHECKING:
    from ofp_edge.runtime.runners import Runner

FARTHEST = 2.0
"""Demonstrations lie within 1. What is fed back, or told, beyond this was never seen in training,
and could grow from one start to the next."""

Rows = NDArray[np.float32]


class _Rows(NamedTuple):
    """Of the first d steps, (d, action_dim): where they are normalised, by what, and where they
    stand in the inputs."""

    normalised: Rows
    offset: Rows
    scale: Rows
    high: Rows
    low: Rows
    values: Rows
    z: Rows


class PrefixInputs:
    """The inputs `committed` and `free` of `act`, and the part of z that is committed.

    values (horizon, action_dim), mask (horizon,): what the inputs hold, as `act` was given it
    last; 1 where a step is committed. steps: the longest prefix that the policy was trained with.
    """

    def __init__(self, act: Runner, spec: PolicySpec, committed: Committed) -> None:
        horizon, size = spec.horizon, spec.action_dim
        self._told = act.inputs["committed"].reshape(horizon, size + 1)
        self._free = act.inputs["free"].reshape(horizon, size)
        self.values, self.mask = self._told[:, :size], self._told[:, size]
        self.steps = committed.steps
        self._first, self._count = spec.start_index, 0
        shape = committed.steps, size
        z = act.inputs["z"].reshape(horizon, size)
        arrays = (
            np.empty(shape, np.float32),
            *(np.full(shape, x, np.float32) for x in (committed.offset, committed.scale)),
            *(np.full(shape, x, np.float32) for x in (FARTHEST, -FARTHEST)),
            *(x[self._first : self._first + committed.steps] for x in (self.values, z)),
        )
        self._rows = [_Rows(*(x[:d] for x in arrays)) for d in range(committed.steps + 1)]
        self._clear()

    def normalised(self, raw: Rows) -> Rows:
        """Return raw actions (d, action_dim) in the network's scale, as many as it was trained to
        be told: the first ones. The next call overwrites them."""
        count = len(raw)
        if count > self.steps:
            raw, count = raw[: self.steps], self.steps
        found, offset, scale, high, low, _, _ = self._rows[count]
        np.subtract(raw, offset, out=found)
        np.divide(found, scale, out=found)
        np.minimum(found, high, out=found)
        np.maximum(found, low, out=found)
        return found

    def write(self, normalised: Rows | None) -> None:
        """Commit the first d actions from the observation on, (d, action_dim); None: nothing.
        ValueError for more than the policy was trained with."""
        count = 0 if normalised is None else len(normalised)
        if count > self.steps:
            raise ValueError(f"{count} committed steps: trained with up to {self.steps}")
        if count != self._count:
            self._clear()
            self._count, end = count, self._first + count
            self.mask[self._first : end] = 1
            self._free[self._first : end] = 0
        if normalised is not None:
            np.copyto(self._rows[count].values, normalised)

    def put_into_z(self) -> None:
        """Put what is committed into the z that `act` takes next."""
        if self._count:
            rows = self._rows[self._count]
            np.copyto(rows.z, rows.values)

    def _clear(self) -> None:
        self._told.fill(0)
        self._free.fill(1)
        self._count = 0
