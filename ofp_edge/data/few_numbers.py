"""FewNumbers keeps blocks of numbers that a source has read, since they are read several times: for
evidence, for ranges, and for what the network takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.source import Key

_EPISODE_BYTES, _ALL_BYTES = 1 << 18, 1 << 24


class FewNumbers:
    """Blocks by key and episode, a few MB in all; what is kept can't be written to."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], list[NDArray[Any]]] = {}
        self._left = _ALL_BYTES

    def blocks(
        self,
        name: str,
        key: Key,
        episode: int,
        length: int,
        read: Callable[[], Iterator[NDArray[Any]]],
    ) -> Iterator[NDArray[Any]]:
        """Yield what `read` yields of an episode of so many frames, or what it did before."""
        place = name, episode
        if place in self._kept:
            yield from self._kept[place]
        elif len(key.shape) > 1 or length * key.frame_bytes > _EPISODE_BYTES:
            yield from read()
        else:
            found = [np.asarray(block) for block in read()]
            size = sum(block.nbytes for block in found)
            if size <= self._left:
                for block in found:
                    block.flags.writeable = False
                self._kept[place] = found
                self._left -= size
            yield from found
