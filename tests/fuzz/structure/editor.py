"""A small valid set, opened to be changed with known truth: one class a layout.

Unlike damage.py's, these changes leave files that are well-formed: a stamp, a name, a row or a unit
is another one, as a recorder, a script or a hand makes it so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.fuzz.damage import Rng

Array = NDArray[Any]


class Editor(ABC):
    """One set. lengths: rows of each episode. states, actions: keys of numbers, cameras: of images,
    of which no editor but Zarr's changes a pixel."""

    lengths: list[int]
    states: list[str]
    actions: list[str]
    cameras: list[str]

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def numbers(self) -> list[str]:
        """Every key of numbers."""
        return [*self.states, *self.actions]

    def special(self) -> Mapping[str, Any]:
        """Changes that only this layout knows: by name, of an rng, which say what they did."""
        return {}

    @abstractmethod
    def get(self, key: str, episode: int) -> Array:
        """Rows of a key in an episode."""

    @abstractmethod
    def put(self, key: str, episode: int, values: Array) -> None:
        """Replace them; as many as before."""

    @abstractmethod
    def take(self, episode: int, rows: Array) -> None:
        """Let these rows, in this order, be the episode's, in all that has a row a frame."""

    @abstractmethod
    def retype(self, key: str, dtype: str) -> None:
        """Store a key of numbers as another type."""

    @abstractmethod
    def rename(self, key: str, name: str) -> None:
        """Give a key another name: the last part of it."""

    @abstractmethod
    def lose(self, rng: Rng) -> str:
        """A file, chunk or array that is not there any more."""

    def save(self) -> None:  # noqa: B027  (most write at once)
        """Write what was changed."""


def odd_type(rng: Rng) -> str:
    """A type of numbers that a recorder may have chosen."""
    return str(rng.choice(["float64", "float16", "int32", "int64", "uint8", ">f4"]))


def as_type(values: Array, dtype: str) -> Array:
    """Values, rounded where they have to be."""
    if np.dtype(dtype).kind in "iu":
        values = np.clip(np.rint(values.astype(np.float64)), *_limits(dtype))
    return values.astype(dtype)


def _limits(dtype: str) -> tuple[float, float]:
    about = np.iinfo(dtype)
    return float(about.min), float(about.max) / 2
