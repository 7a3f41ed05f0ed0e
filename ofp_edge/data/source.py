"""The interface of every layout of demonstrations: episodes, keys, rates, and frames in blocks.

A Source reads nothing but small tables when it is opened. `blocks` then yields a key's frames of
one episode, a few at a time, so memory stays flat whatever the size of the set.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.known_hashes import known_sha256
from ofp_edge.errors import DatasetError
from ofp_edge.outside import require_closed, require_memory
from ofp_edge.spec import FASTEST_HZ, SLOWEST_HZ
from ofp_edge.strict import shown

BLOCK_BYTES = 8_000_000
"""The largest size of one block of frames, unless a single frame is larger."""
_LISTED = 20  # episodes at most in a message
_COPIES = 4  # blocks, their whole, and what is worked out of it in float64
SMALL_FILE_BYTES = 64_000_000
"""The limit for a layout's tables; a larger file can only be the wrong one."""


@dataclass(frozen=True)
class Key:
    """An array of a source. shape: of one frame; colour images are (H, W, 3) RGB uint8."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_image(self) -> bool:
        """Whether it is a colour image."""
        return len(self.shape) == 3 and self.shape[2] == 3

    @property
    def block_rows(self) -> int:
        """The number of frames that one block holds."""
        return max(1, min(1024, BLOCK_BYTES // max(1, self.frame_bytes)))

    @property
    def frame_bytes(self) -> int:
        """The number of bytes that one frame takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Control:
    """What a layout states of a part of its action vector.

    part: its name, "" for the only one. kind: "absolute", "delta", "velocity", or "torque", which
    is none of an action's; None where it states none. columns: how many it takes, without a
    gripper's, None where nothing says. limit: the largest value that its controller takes of what
    is relative. said: the words of the files; stated: whether they state the kind, or it is the
    default of what they name.
    """

    part: str
    kind: str | None
    columns: int | None = None
    limit: float | None = None
    said: str = ""
    stated: bool = True


class Source(ABC):
    """Offers demonstrations in some layout, open for reading.

    layout: its name. keys: by the name they have in the files. lengths: frames of each episode.
    rates_hz: every rate that the files state, () if none. delta: whether actions are relative, None
    where the files do not say, or say it of each part; controls: of which parts the action vector
    is made, in their order. notes: peculiarities of the files themselves. names: of a key's
    dimensions, as the files state them. tasks: what was asked for in each episode, successes:
    whether it was done, () where the files state none, None for an episode of which they do not.
    robot: its type, as the files call it. left: what the layout does not read at all, and why.
    """

    layout: str
    path: Path
    keys: Mapping[str, Key]
    lengths: tuple[int, ...]
    rates_hz: tuple[float, ...] = ()
    task: str | None = None
    delta: bool | None = None
    controls: tuple[Control, ...] = ()
    notes: tuple[str, ...] = ()
    names: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    tasks: tuple[str | None, ...] = ()
    successes: tuple[bool | None, ...] = ()
    robot: str | None = None
    left: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        """Yield the key's frames of one episode in order, as blocks (n, *shape).

        DatasetError names the episode when they cannot be read or are fewer than its length.
        """

    def read(self, key: str, episode: int) -> NDArray[Any]:
        """Read them all at once: (length, *shape). DatasetError also where memory is too small."""
        size = self.lengths[episode] * self.keys[key].frame_bytes
        if size > BLOCK_BYTES:  # a block is read without asking, and asking takes longer than it
            require_memory(_COPIES * size, f"{self.path}: episode {episode}, {key}", DatasetError)
        return np.concatenate(list(self.blocks(key, episode)))

    def wrong(self, episode: int, keys: Collection[str]) -> str | None:
        """Why these keys of an episode can't be read, as far as is known before they are: one line
        that ends with a stop; None where nothing speaks against it."""
        if self.lengths[episode] < 1:
            return f"{self.path}: episode {episode}: 0 frames, expected at least 1."
        return None

    def refusal(
        self, why: str, episode: int, chosen: Sequence[int], keys: Collection[str]
    ) -> DatasetError:
        """Return the error about one of the chosen episodes that is `wrong`, with what to write."""
        others = [x for x in chosen if x != episode] if len(chosen) <= _LISTED else []
        sound = [x for x in others if self.wrong(x, keys) is None]
        rest = f": episodes = {sound}" if sound else ""
        return DatasetError(f"{why} Or leave the episode out (`episodes` in a mapping){rest}.")

    def rate_of(self, episodes: Sequence[int]) -> float | None:
        """The one rate of these episodes. DatasetError when they differ."""
        return self.rate_hz

    def times_s(self, episode: int) -> NDArray[np.float64] | None:
        """When each frame was recorded, in seconds: (length,); None where only a key of numbers,
        or nothing, says it."""
        return None

    def odd(self, key: str, episodes: Sequence[int]) -> tuple[str, ...]:
        """What is odd about a key in these episodes and does not keep it from being read: one line
        each, to be said before anything is made of it. DatasetError where it can't be read."""
        return ()

    def unlike(self, key: str, episode: int, values: NDArray[Any]) -> str | None:
        """What else the files say of a key's numbers in an episode, (length, *shape) and finite,
        that these are not: a phrase; None where nothing speaks against them, or nothing says it."""
        return None

    @property
    def rate_hz(self) -> float | None:
        """The one rate that all episodes share. DatasetError when they differ."""
        if len(self.rates_hz) > 1:
            raise DatasetError(
                f"{self.path}: episodes of {' and '.join(f'{x:g}' for x in self.rates_hz)} Hz: "
                "expected one rate. Take the episodes apart, or resample them."
            )
        return self.rates_hz[0] if self.rates_hz else None

    def sha256(self) -> str:
        """Return the hash of every byte below `path`, or of the file. DatasetError where a link
        leads out of it."""
        if self.path.is_dir():
            require_closed(self.path, DatasetError)
        return known_sha256(self.path)

    def require_key(self, key: str, what: str) -> Key:
        """Return the key. Raises DatasetError listing those there are."""
        if key not in self.keys:
            raise DatasetError(
                f"{self.path}: {what}: no key {key!r}. There are: {', '.join(self.keys)}."
            )
        return self.keys[key]


def rate_hz(value: Any, where: str) -> float:
    """Read a rate that a layout states. DatasetError unless it is one that a robot may have."""
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not plain or not SLOWEST_HZ <= value <= FASTEST_HZ:
        raise DatasetError(
            f"{where}: expected a rate of {SLOWEST_HZ:g} to {FASTEST_HZ:g} Hz, got {shown(value)}."
        )
    return float(value)


def spans(length: int, rows: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of blocks of at most `rows` in [start, start + length)."""
    for first in range(start, start + length, rows):
        yield first, min(first + rows, start + length)
