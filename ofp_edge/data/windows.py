"""Training windows: past frames and future actions around every frame, padded at both ends.

frame:      k-To+1 … k      observations, oldest first; before the start the first one repeats
action:     k-s … k-s+H-1   s: the chunk's start_index; before the start the first one repeats;
                            after the end: "stay" for delta and velocity, the last for absolute
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.dataset import Dataset


@dataclass(frozen=True)
class Windows:
    """Holds the windows. past: (n, To) frame numbers. chunks: (n, H, A) raw actions, padded."""

    past: NDArray[np.int64]
    chunks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.past)


def windows(
    dataset: Dataset,
    episodes: Sequence[int],
    n_obs_steps: int,
    horizon: int,
    start_index: int = 0,
) -> Windows:
    """Make one window for each frame of the given episodes."""
    past, chunks = [], []
    hold = _hold_values(dataset)
    for episode in episodes:
        span = dataset.episode(episode)
        now = np.arange(span.start, span.stop)[:, None]
        past.append(np.maximum(now + np.arange(1 - n_obs_steps, 1), span.start))
        future = np.maximum(now - start_index + np.arange(horizon), span.start)
        chunk = dataset.action[np.minimum(future, span.stop - 1)]  # (n, H, A)
        ended = (future >= span.stop)[:, :, None] & np.isfinite(hold)
        chunks.append(np.where(ended, hold, chunk).astype(np.float32))
    return Windows(np.concatenate(past).astype(np.int64), np.concatenate(chunks))


def _hold_values(dataset: Dataset) -> NDArray[np.float32]:
    """(A,) the value that means "stay", or NaN where the last value does."""
    values = [
        np.nan if field.hold is None else field.hold
        for field in dataset.interface.actions
        for _ in range(field.shape[0])
    ]
    return np.asarray(values, np.float32)
