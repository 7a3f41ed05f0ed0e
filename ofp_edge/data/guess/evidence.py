"""What an action's numbers say of its meaning, read of at most eight episodes over the set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.looked_at import looked_at
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError

_FEWEST = 6  # frames or pairs of frames, below which numbers prove nothing
_NEAR, _ALIKE = 0.1, 0.95  # of a column's range; a correlation
_SMOOTH = 0.18  # noise steps by 0.29 of its range and more, a path of 8 points by 0.16
_FAR = 2.0  # ranges that 0 may lie away from all values of what is relative
_OUTSIDE = 0.05  # of the frames
_UNIT = 2e-3
Frames = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """The values of a key, (n, D) of each episode looked at, all finite; and of the states beside
    it, by their names. Episodes that cannot be read are not among them."""

    parts: tuple[Frames, ...]
    states: Mapping[str, tuple[Frames, ...]] = field(default_factory=dict)
    rate_hz: float | None = None

    @cached_property
    def frames(self) -> Frames:
        """All frames, (n, D)."""
        return np.concatenate(self.parts) if self.parts else np.empty((0, 0))

    def distinct(self, column: int) -> tuple[float, ...]:
        """The values of a column, no more than 4 of them."""
        return tuple(np.unique(self.frames[:, column])[:4].tolist()) if self.parts else ()

    @property
    def enough(self) -> bool:
        """Whether there are frames enough to judge by."""
        return len(self.frames) >= _FEWEST

    def spread(self) -> Frames:
        """The range of each column without its outermost twentieths, (D,)."""
        low, high = np.percentile(self.frames, (5, 95), axis=0)
        return np.asarray(high - low)

    def outside(self, columns: Iterable[int], limit: float) -> list[int]:
        """The columns of which more than a twentieth of the frames leaves ±limit."""
        if not self.enough:
            return []
        share = (np.abs(self.frames) > limit * (1 + 1e-3)).mean(0)
        return [c for c in columns if share[c] > _OUTSIDE]

    def far(self, columns: Iterable[int]) -> list[int]:
        """The smooth columns that never come near 0: 0 lies two of their ranges off, or more."""
        if not self.enough:
            return []
        low, high = self.frames.min(0), self.frames.max(0)
        away = np.maximum(np.maximum(low, -high), 0)
        smooth = self._smooth()
        return [c for c in columns if high[c] > low[c] and smooth[c]
                and away[c] > _FAR * (high[c] - low[c])]  # fmt: skip

    def tracks(self, first: int, stop: int, *, smooth: bool = False) -> str | None:
        """The state that columns [first, stop) follow, each by a tenth of its range: the action is
        where the state goes. smooth: only where they move as paths do, so that it is no chance."""
        told = self.spread()[first:stop] > 0 if self.enough else np.zeros(stop - first, bool)
        told &= self._smooth()[first:stop] if smooth and self.enough else True
        for name, a, s in self._beside(first, stop):
            now = list(zip(a, s, strict=True))
            then = [(x[:-1], y[1:]) for x, y in now]
            for pairs in (then, now):
                x, y = (np.concatenate(z) for z in zip(*pairs, strict=True))
                moves = told[: x.shape[1]]
                if len(x) < _FEWEST or moves.sum() < min(2, x.shape[1]):
                    continue
                near = _NEAR * self.spread()[first : first + x.shape[1]]
                if (np.median(np.abs(x - y), axis=0)[moves] < near[moves]).all():
                    return name
        return None

    def _beside(
        self, first: int, stop: int
    ) -> Iterator[tuple[str, tuple[Frames, ...], tuple[Frames, ...]]]:
        """Each state's name with columns [first, stop) as far as it has so many, and with its own:
        those at the same place, and its first."""
        for name, states in self.states.items():
            width = states[0].shape[1] if states else 0
            for start in dict.fromkeys((first, 0)):
                count = min(stop - first, width - start)
                if count >= min(2, stop - first):
                    a = tuple(x[:, first : first + count] for x in self.parts)
                    yield name, a, tuple(x[:, start : start + count] for x in states)

    def same(self, state: str) -> bool:
        """Whether a state has, in every frame, the very values of as many of the first columns."""
        pairs = list(zip(self.parts, self.states[state], strict=True))
        fits = pairs and 1 < pairs[0][1].shape[1] <= pairs[0][0].shape[1] and self.enough
        return bool(fits) and all(np.array_equal(a[:, : s.shape[1]], s) for a, s in pairs)

    def steps(self, first: int, stop: int) -> tuple[str, str] | None:
        """The state whose steps columns [first, stop) are, with "delta" or "velocity"."""
        for name, acted, states in self._beside(first, stop) if self.enough else ():
            pairs = [(a[:-1], np.diff(s, axis=0)) for a, s in zip(acted, states, strict=True)]
            count = pairs[0][0].shape[1]
            a, d = (np.concatenate(x) for x in zip(*pairs, strict=True))
            told = (a.std(0) > 0) & (d.std(0) > 0)
            if len(a) < _FEWEST or told.sum() < min(2, count):
                continue
            a, d = a[:, told], d[:, told]
            alike = [np.corrcoef(a[:, c], d[:, c])[0, 1] for c in range(a.shape[1])]
            if min(alike) > _ALIKE:
                ratio = float(np.median(a.std(0) / d.std(0)))
                speed = self.rate_hz and abs(ratio / self.rate_hz - 1) < _NEAR
                return name, "velocity" if speed else "delta"
        return None

    def rot6d(self, first: int) -> bool:
        """Whether six columns are two of a rotation matrix in every frame, and turn or differ."""
        six = self.frames[:, first : first + 6]
        if len(six) < _FEWEST or six.shape[1] < 6:
            return False
        a, b = six[:, :3], six[:, 3:]
        off = np.abs(np.stack([np.linalg.norm(a, axis=1) - 1, np.linalg.norm(b, axis=1) - 1,
                               (a * b).sum(1)]))  # fmt: skip
        return bool(off.max() < _UNIT)

    def _smooth(self) -> NDArray[np.bool_]:
        """Whether each column moves as a path does, and not as noise or switches."""
        steps = [np.abs(np.diff(x, axis=0)) for x in self.parts if len(x) > 1]
        if not steps:
            return np.zeros(self.frames.shape[1], bool)
        return np.asarray(np.median(np.concatenate(steps), axis=0) <= _SMOOTH * self.spread())


def see(
    source: Source,
    key: str,
    states: Iterable[str] = (),
    episodes: Sequence[int] | None = None,
) -> Seen:
    """Read a key, and states beside it, of those episodes given, of all without, that are looked
    at.

    What cannot be read, and frames without numbers, are left out: who reads all of it says so.
    """
    names = [key, *states]
    found: dict[str, list[Frames]] = {name: [] for name in names}
    chosen = range(len(source.lengths)) if episodes is None else episodes
    for episode in (chosen[i] for i in looked_at(len(chosen))):
        try:
            if source.wrong(episode, names) is not None:
                continue
            read = [_numbers(source, name, episode) for name in names]
        except DatasetError:
            continue
        good = np.isfinite(read[0]).all(1)
        if good.any():
            for name, values in zip(names, read, strict=True):
                found[name].append(values[good])
    rate = source.rates_hz[0] if len(source.rates_hz) == 1 else None
    beside = {name: tuple(found[name]) for name in names[1:] if found[key]}
    whole = {k: v for k, v in beside.items() if all(np.isfinite(x).all() for x in v)}
    return Seen(tuple(found[key]), whole, rate)


def _numbers(source: Source, key: str, episode: int) -> Frames:
    values = np.asarray(source.read(key, episode), float)
    if values.shape[1:] != source.keys[key].shape:
        raise DatasetError(f"{source.path}: episode {episode}, {key}: of another shape.")
    return values.reshape(len(values), -1)
