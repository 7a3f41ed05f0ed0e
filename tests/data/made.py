"""Sources made of arrays: keys (E, T, ...), as a layout would give them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.source import Key, Source

EPISODES, FRAMES = 3, 24


class Arrays(Source):
    """Episodes of given arrays."""

    layout, path, rates_hz = "made", Path("made"), (10.0,)

    def __init__(self, arrays: dict[str, Any], **stated: Any) -> None:
        self.arrays = {k: np.asarray(v) for k, v in arrays.items()}
        first = next(iter(self.arrays.values()))
        self.lengths = (first.shape[1],) * first.shape[0]
        self.keys = {k: Key(v.shape[2:], str(v.dtype)) for k, v in self.arrays.items()}
        for name, value in stated.items():
            setattr(self, name, value)

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        yield self.arrays[key][episode]


def noise(width: int, seed: int = 0, size: float = 0.9) -> NDArray[np.float64]:
    """(E, T, width) steps that know nothing of each other, of ±size."""
    return np.random.default_rng(seed).uniform(-size, size, (EPISODES, FRAMES, width))


def path(width: int, seed: int = 0, away: float = 0.0) -> NDArray[np.float64]:
    """(E, T, width) places on smooth ways, `away` from 0."""
    phase = np.random.default_rng(seed).uniform(0, 6, (EPISODES, 1, width))
    return away + np.sin(phase + np.linspace(0, 3, FRAMES)[None, :, None])


def switch(*values: float, seed: int = 0) -> NDArray[np.float64]:
    """(E, T, 1) of these values, each of them there."""
    picked = np.random.default_rng(seed).integers(0, len(values), (EPISODES, FRAMES, 1))
    picked[0, : len(values), 0] = range(len(values))
    return np.asarray(values)[picked]


def joined(*parts: Any) -> NDArray[np.float64]:
    """Columns side by side."""
    return np.concatenate(parts, axis=-1)
