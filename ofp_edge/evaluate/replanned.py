"""Plan again along recorded episodes, by the `Inference` that robots run: what was recorded is seen
and a plan is made every n_action_steps, as with L = 0; the robot is not moved by it.

Every plan is made from several noises. Noise number i of a plan is the same whatever the engine,
the evaluations and the start, so that plans differ by those alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.dataset import Dataset
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.infer.inference import Inference


@dataclass(frozen=True, eq=False)
class Plans:
    """The plans of all moments. cold: (K, P, S, A) raw actions of K noises, each started from noise
    alone. warm: the same, each from the plan before it with the noise of the same number, and the
    first of an episode cold; None where every start is cold."""

    cold: NDArray[np.float32]
    warm: NDArray[np.float32] | None


def planning_moments(inference: Inference, dataset: Dataset, episode: int) -> Iterator[int]:
    """Let it see an episode; yield the frame, counted within it, at which a plan is due."""
    spec, span = inference.spec, dataset.episode(episode)
    fields: Mapping[str, NDArray[Any]] = {
        field.name: dataset.fields[field.name] for field in spec.observations
    }
    for k in range(span.stop - span.start):
        due = k % spec.n_action_steps == 0
        if due or spec.n_obs_steps > 1:
            seen = {name: values[span.start + k] for name, values in fields.items()}
            inference.observe(k * spec.dt_ns, seen)
        if due:
            yield k


def replan(
    inference: Inference, dataset: Dataset, episodes: Sequence[int], samples: int, seed: int,
    *, warm: bool, progress: Progress = silent,
) -> Plans:  # fmt: skip
    """Make the plans of these episodes, in order. samples: noises; warm: as well as cold."""
    spec = inference.spec
    cold: list[list[NDArray[np.float32]]] = [[] for _ in range(samples)]
    warmed: list[list[NDArray[np.float32]]] = [[] for _ in range(samples)]
    for number, episode in enumerate(episodes):
        inference.reset()
        last: list[Chunk | None] = [None] * samples
        for k in planning_moments(inference, dataset, episode):
            t_ns = k * spec.dt_ns
            for i in range(samples):
                noise = (seed, episode, k, i)
                inference.draw_from(noise)
                alone = inference.infer(t_ns)
                cold[i].append(alone.actions)
                if not warm:
                    continue
                if (before := last[i]) is None:
                    last[i] = alone
                else:
                    inference.draw_from(noise)
                    last[i] = inference.infer(t_ns, before)
                warmed[i].append(last[i].actions)  # type: ignore[union-attr]
        progress(number + 1, len(episodes), "episodes")
    return Plans(np.asarray(cold), np.asarray(warmed) if warm else None)
