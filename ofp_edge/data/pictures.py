"""Images in the forms that files have: channels first, with an alpha, grey. Turned in one place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.mapping import Mapping
from ofp_edge.data.source import Key, Source
from ofp_edge.errors import DatasetError
from ofp_edge.fields.field import KINDS

_SMALLEST = 4  # pixels of a side: (6, 3, 3) are matrices rather
_CHANNELS = {1: "grey, repeated to three", 3: "RGB", 4: "RGBA, its alpha dropped"}


@dataclass(frozen=True)
class Picture:
    """How a key's frames are an image. axis: of the channels, None for none; whole: of bytes, as
    colours are, unless it is plain."""

    size: tuple[int, int]
    channels: int
    axis: int | None
    whole: bool = True

    @property
    def grey(self) -> bool:
        """Whether it has one channel."""
        return self.channels == 1

    @property
    def plain(self) -> bool:
        """Whether its frames are (H, W, 3), which need no turning."""
        return self.axis == 2 and self.channels == 3

    @property
    def said(self) -> str:
        """In words."""
        turned = ", channels first" if self.axis == 0 else ""
        return f"of {self.size[0]} x {self.size[1]}, {_CHANNELS[self.channels]}{turned}"

    def turn(self, block: NDArray[Any]) -> NDArray[Any]:
        """Frames (n, *shape) as they are recorded -> (n, H, W, 3)."""
        if self.axis is None:
            block = block[..., None]
        elif self.axis == 0:
            block = np.moveaxis(block, 1, -1)
        if self.channels == 1:
            block = np.repeat(block, 3, axis=-1)
        return np.ascontiguousarray(block[..., :3])


def picture(key: Key) -> Picture | None:
    """Return how a key's frames are an image; None where they are none. Numbers of more than one
    byte are an image only where they have colours."""
    shape, byte = key.shape, key.dtype == "uint8"
    if key.is_image:
        return Picture((shape[0], shape[1]), 3, 2)
    if len(shape) == 2 and byte and min(shape) > _SMALLEST + 2:
        return Picture((shape[0], shape[1]), 1, None)
    if len(shape) != 3:
        return None
    colours = (3, 4, 1) if byte else (3, 4)
    for axis in (2, 0):
        size = shape[:2] if axis == 2 else shape[1:]
        if shape[axis] in colours and min(size) >= _SMALLEST:
            return Picture((size[0], size[1]), shape[axis], axis, byte)
    return None


class Turned(Source):
    """A source of which some keys are read as images (H, W, 3), whichever form they have."""

    def __init__(self, source: Source, keys: Collection[str]) -> None:
        self._source = source
        self._forms = {x: form for x in keys if (form := picture(source.keys[x])) is not None}
        self.keys = {
            name: Key((*self._forms[name].size, 3), key.dtype) if name in self._forms else key
            for name, key in source.keys.items()
        }
        for name in set(Source.__annotations__) - {"keys"}:
            setattr(self, name, getattr(source, name))

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        """As Source.blocks, turned. A frame of another form goes on as it is, to be refused."""
        form, shape = self._forms.get(key), self._source.keys[key].shape
        for block in self._source.blocks(key, episode):
            yield block if form is None or block.shape[1:] != shape else form.turn(block)

    def wrong(self, episode: int, keys: Collection[str]) -> str | None:
        """As Source.wrong."""
        return self._source.wrong(episode, keys)

    def refusal(
        self, why: str, episode: int, chosen: Sequence[int], keys: Collection[str]
    ) -> DatasetError:
        """As Source.refusal."""
        return self._source.refusal(why, episode, chosen, keys)

    def times_s(self, episode: int) -> NDArray[np.float64] | None:
        """As Source.times_s."""
        return self._source.times_s(episode)

    def rate_of(self, episodes: Sequence[int]) -> float | None:
        """As Source.rate_of."""
        return self._source.rate_of(episodes)

    def odd(self, key: str, episodes: Sequence[int]) -> tuple[str, ...]:
        """As Source.odd."""
        return self._source.odd(key, episodes)

    def unlike(self, key: str, episode: int, values: NDArray[Any]) -> str | None:
        """As Source.unlike; of pictures nothing is stated."""
        return None if key in self._forms else self._source.unlike(key, episode, values)

    def sha256(self) -> str:
        """As Source.sha256."""
        return self._source.sha256()


def turned(source: Source, mapping: Mapping) -> Source:
    """Return a source that reads each key which a field takes for a colour image as one, whatever
    its form; the source itself where all are (H, W, 3) already."""
    keys = {x.key for x in mapping.observations if _is_color(x.values.get("kind"))}
    others = {x.key for x in (*mapping.observations, *mapping.actions)
              if not _is_color(x.values.get("kind"))}  # fmt: skip
    forms = {x: picture(source.keys[x]) for x in keys - others if x in source.keys}
    found = [key for key, form in forms.items() if form is not None and not form.plain]
    return Turned(source, found) if found else source


def _is_color(kind: Any) -> bool:
    return isinstance(kind, str) and kind in KINDS and KINDS[kind].stream == "color"
