"""Observation windows: moments of recorded episodes, each with the frames a policy sees then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.alike import require_alike
from ofp_edge.data.dataset import Dataset
from ofp_edge.errors import DatasetError
from ofp_edge.spec import PolicySpec


@dataclass(frozen=True)
class ObservationWindows:
    """K moments, each with the frames that a policy sees then.

    `fields` has, for each observation field, (K, n_obs_steps, *field.shape) of its dtype, oldest
    frame first. `episode` and `frame`, (K,) int64, say where each comes from; `frame` counts within
    its episode.
    """

    fields: dict[str, NDArray[Any]]
    episode: NDArray[np.int64]
    frame: NDArray[np.int64]

    def __len__(self) -> int:
        """Return K."""
        return len(self.episode)

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> ObservationWindows:
        """Return some of them, in the order of `rows`."""
        index = np.asarray(rows, dtype=np.int64)
        fields = {name: values[index] for name, values in self.fields.items()}
        return ObservationWindows(fields, self.episode[index], self.frame[index])

    def numbered_from(self, first: int) -> ObservationWindows:
        """Return them with `first` added to the numbers of their episodes."""
        return ObservationWindows(self.fields, self.episode + first, self.frame)

    def distinct(self) -> int:
        """Count how many differ in what is seen."""
        seen = zip(*(values.reshape(len(self), -1) for values in self.fields.values()), strict=True)
        return len({tuple(part.tobytes() for part in parts) for parts in seen})


def joined(parts: Sequence[ObservationWindows]) -> ObservationWindows:
    """Return the windows of all parts, of the same fields, in their order."""
    return ObservationWindows(
        {name: np.concatenate([x.fields[name] for x in parts]) for name in parts[0].fields},
        np.concatenate([x.episode for x in parts]),
        np.concatenate([x.frame for x in parts]),
    )


def choose_windows(
    dataset: Dataset, spec: PolicySpec, episodes: Sequence[int], count: int, seed: int
) -> ObservationWindows:
    """Choose up to `count` windows of the given episodes, spread evenly over their frames.

    The episodes' frames are laid end to end and cut into `count` equal stretches, and one window is
    drawn from each, so every episode and every phase is there. Raises SpecMismatch when the
    dataset's observations are not the policy's, DatasetError when there is no frame.
    """
    have = dataset.interface.observations
    require_alike(
        spec.observations, have, f"{dataset.path}: observation", exact=False, unstated=True
    )
    if not episodes:
        raise DatasetError(f"{dataset.path}: no training episode to take calibration samples from.")
    frames = dataset.frames(episodes)
    rng = np.random.default_rng(seed)
    count = min(count, len(frames))
    edges = np.linspace(0, len(frames), count + 1)
    picks = frames[(edges[:-1] + rng.random(count) * np.diff(edges)).astype(np.int64)]
    episode = np.searchsorted(dataset.episode_ends, picks, side="right")
    starts = np.concatenate([[0], dataset.episode_ends[:-1]])[episode]
    past = picks[:, None] + np.arange(1 - spec.n_obs_steps, 1)
    past = np.maximum(past, starts[:, None])
    fields = {f.name: dataset.fields[f.name][past] for f in spec.observations}
    return ObservationWindows(fields, episode.astype(np.int64), (picks - starts).astype(np.int64))
