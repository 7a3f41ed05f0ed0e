"""Run the evaluations of `act` that make a chunk, in turn: noise, mixing, the engine calls.

Everything is written in place: the engine's inputs, and one array for noise.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.infer.prefix import PrefixInputs
from ofp_edge.runtime.infer.sampler import Step

if TYPE_CHECKING:
    from ofp_edge.runtime.runners import Runner


@dataclass(frozen=True)
class Prepared:
    """A Step with its constants as arrays and scalars, ready to compute with. noise: of a start
    from noise alone, whatever its row's time. time_row: None of a deterministic policy."""

    time_row: NDArray[np.float32] | None
    noise: np.float32
    noise_share: np.float32
    plan_share: np.float32


class Walk:
    """Walks steps with the runner of `act`, whose buffers are written and read in place.

    Where `act` takes no noise, none is drawn. Each method returns the engine's nanoseconds; the
    answer is in the runner's outputs. prefix: what it has stands in every z that noise or a plan
    was put into; a step that begins with the answer of the one before finds it there.
    """

    def __init__(
        self, act: Runner, seed: int | Sequence[int], prefix: PrefixInputs | None = None
    ) -> None:
        self._act, self._prefix = act, prefix
        none = np.empty(0, np.float32)
        self._z = act.inputs.get("z", none).reshape(-1)
        self._time_row = act.inputs.get("time_row", none)
        self._plan = act.outputs["chunk_normalised"].reshape(-1)
        self._eps = np.empty_like(self._z)
        self.reseed(seed)

    def reseed(self, seed: int | Sequence[int]) -> None:
        """Start the stream of noise again: PCG64(seed)."""
        self._rng = np.random.Generator(np.random.PCG64(seed))

    def prepare(self, steps: Sequence[Step]) -> list[Prepared]:
        """Prepare steps for `cold`, `warm` and `more`; a walk begins with the first."""
        shape = self._time_row.shape
        return [
            Prepared(
                None if s.row is None else np.asarray(s.row.row, dtype=np.float32).reshape(shape),
                np.float32(s.noise),
                *_shares(s, i == 0),
            )
            for i, s in enumerate(steps)
        ]

    def cold(self, steps: Sequence[Prepared]) -> int:
        """Walk every step, from noise."""
        self._draw()
        np.multiply(self._eps, steps[0].noise, out=self._z)
        if self._prefix is not None:
            self._prefix.put_into_z()
        return self._run(steps[0]) + self.more(steps[1:])

    def warm(self, steps: Sequence[Prepared], plan: NDArray[np.float32]) -> int:
        """Walk every step, from noise mixed with `plan` (flat, normalised)."""
        self._draw()
        self._mix(steps[0], plan)
        return self._run(steps[0]) + self.more(steps[1:])

    def more(self, steps: Sequence[Prepared]) -> int:
        """Walk further steps, each from the answer of the one before."""
        engine_ns = 0
        for step in steps:
            if step.noise_share:
                self._draw()
                self._mix(step, self._plan)
            else:
                np.copyto(self._z, self._plan)
            engine_ns += self._run(step)
        return engine_ns

    def _draw(self) -> None:
        self._rng.standard_normal(dtype=np.float32, out=self._eps)

    def _mix(self, step: Prepared, plan: NDArray[np.float32]) -> None:
        """z = (1 - t) noise eps + t plan (in a noisy ladder sigma eps + plan), in place; `plan` may
        be the engine's own output buffer."""
        np.multiply(self._eps, step.noise_share, out=self._z)
        np.multiply(plan, step.plan_share, out=self._eps)
        np.add(self._z, self._eps, out=self._z)
        if self._prefix is not None:
            self._prefix.put_into_z()

    def _run(self, step: Prepared) -> int:
        if step.time_row is not None:
            np.copyto(self._time_row, step.time_row)
        before = time.perf_counter_ns()
        self._act.infer()
        return time.perf_counter_ns() - before


def _shares(step: Step, first: bool) -> tuple[np.float32, np.float32]:
    """Return the shares of noise and of the last result in the z that a step starts from."""
    if step.row is None:
        return np.float32(0), np.float32(0)
    if first or step.renoise:
        return np.float32((1 - step.row.t) * step.noise), np.float32(step.row.t)
    return np.float32(step.row.noise), np.float32(1)
