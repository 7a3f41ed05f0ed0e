"""Survey a source's content and its oddities, for people, before they train on it.

Numbers are read whole; of images the first block of at most eight episodes. Nothing that can't be
read ends a survey: it is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.edges import offer
from ofp_edge.data.extents import Extent, extents
from ofp_edge.data.glitches import CLIP, glitches
from ofp_edge.data.guess.words import is_action, label
from ofp_edge.data.looked_at import LOOKED_AT, looked_at
from ofp_edge.data.mapping import Mapping, clipped_keys
from ofp_edge.data.odd_rates import odd_rates
from ofp_edge.data.source import Key, Source
from ofp_edge.data.times import odd_stamps
from ofp_edge.errors import DatasetError
from ofp_edge.progress import Progress, silent

_UNIT = 1e-3  # how far a quaternion's norm may be from 1


@dataclass
class KeySurvey:
    """One key. low, high: of what was read, None if all is NaN; whole: whether that is all."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float | None = None
    high: float | None = None
    whole: bool = True


@dataclass
class Survey:
    """Describes a source. odd: one line for each thing to look at before training. extents: of each
    key of numbers, by dimension. unread: episode -> why some of it can't be read."""

    keys: list[KeySurvey] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    extents: dict[str, list[Extent | None]] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)

    def add(self, lines: Iterable[str]) -> None:
        """Add lines that aren't there yet."""
        self.odd += [x for x in dict.fromkeys(lines) if x not in self.odd]


@dataclass(frozen=True)
class _Chosen:
    """What is read and judged. drop: frames left out at each episode's ends. columns: those of a
    key that count; a key that is not among them is shown and not judged. None: all of all."""

    episodes: tuple[int, ...]
    drop: tuple[int, int] = (0, 0)
    columns: dict[str, list[tuple[int, int] | None]] | None = None
    clipped: Collection[str] = ()

    def judges(self, name: str) -> bool:
        return self.columns is None or name in self.columns

    def counts(self, name: str, width: int) -> NDArray[np.bool_]:
        """(width,) whether each dimension counts."""
        spans = [None] if self.columns is None else self.columns.get(name, [])
        made = np.zeros(width, bool)
        for span in spans:
            made[slice(*(span or (0, width)))] = True
        return made


def survey(
    source: Source,
    progress: Progress = silent,
    mapping: Mapping | None = None,
    episodes: Collection[int] | None = None,
) -> Survey:
    """Read a source through. mapping: one that somebody wrote, which decides what has to be right.
    episodes: those to read, default all."""
    every = tuple(range(len(source.lengths)) if episodes is None else episodes)
    chosen = _Chosen(every) if mapping is None else _chosen(mapping, every)
    rate = source.rates_hz[0] if source.rates_hz else None
    found = Survey(odd=list(source.notes))
    for number, (name, key) in enumerate(source.keys.items()):
        progress(number, len(source.keys), name)
        unread: dict[int, str] = {}
        sound = []
        for episode in chosen.episodes:
            why = source.wrong(episode, (name,))
            if why is None:
                sound.append(episode)
            else:
                unread[episode] = why
        seen, odd, spans = _look(source, name, key, sound, unread, chosen)
        found.keys.append(seen)
        if spans:
            found.extents[name] = spans
        if not chosen.judges(name):
            continue
        found.odd += [x for x in odd if not (x.endswith(CLIP) and name in chosen.clipped)]
        sound = [x for x in sound if x not in unread]
        with _said(found):
            found.add(source.odd(name, sound))
        if rate is not None:
            with _said(found):
                found.add(odd_stamps(source, (name,), sound, rate))
        found.unread = {**unread, **found.unread}
    progress(len(source.keys), len(source.keys))
    left = list(dict.fromkeys(found.unread[x] for x in sorted(found.unread)))
    found.odd += [_leave(x) for x in left[:LOOKED_AT]]
    if len(left) > LOOKED_AT:
        found.odd.append(f"{len(left) - LOOKED_AT} more of that kind")
    with _said(found):
        found.odd += odd_rates(source, chosen.episodes, mapping)
    return found


def _chosen(mapping: Mapping, episodes: tuple[int, ...]) -> _Chosen:
    columns: dict[str, list[tuple[int, int] | None]] = {}
    for entry in (*mapping.observations, *mapping.actions):
        columns.setdefault(entry.key, []).append(entry.columns)
    return _Chosen(episodes, mapping.drop_frames, columns, clipped_keys(mapping))


@contextmanager
def _said(found: Survey) -> Iterator[None]:
    """What can't be read in a block becomes a line."""
    try:
        yield
    except DatasetError as cause:
        found.add([str(cause)])


def _leave(why: str) -> str:
    return why if "eave the episode out" in why else f"{why} Leave the episode out"


def _look(
    source: Source,
    name: str,
    key: Key,
    episodes: list[int],
    unread: dict[int, str],
    chosen: _Chosen,
) -> tuple[KeySurvey, list[str], list[Extent | None]]:
    """The key, what is odd, and where its numbers lie. unread: what can't be read is added."""
    whole = len(key.shape) < 2 or len(source.lengths) <= LOOKED_AT and not key.is_image
    made, odd = KeySurvey(name, key.shape, key.dtype, whole=whole), list[str]()
    low, high, bad, first = None, None, [], chosen.drop[0]
    rows: list[NDArray[np.bool_]] = []
    unlike: list[tuple[int, str]] = []
    signs: dict[int, list[tuple[int, int]]] | None = None
    parts: list[tuple[NDArray[Any], NDArray[Any]]] = []
    read = []
    cloud = len(key.shape) == 2 and key.shape[1] in (3, 6) and key.shape[0] > 0
    counts = chosen.counts(name, key.shape[0] if len(key.shape) == 1 else 1)
    for episode in episodes if whole else [episodes[i] for i in looked_at(len(episodes))]:
        try:
            values = _values(source, name, episode, whole)
        except DatasetError as cause:
            unread[episode] = str(cause)
            continue
        recorded = values
        values = values[first : max(first, source.lengths[episode] - chosen.drop[1])]
        if not len(values):
            continue
        read.append(episode)
        if cloud:
            parts.append((values[..., :3].min(1), values[..., :3].max(1)))
        elif len(key.shape) < 2:
            parts.append((values.reshape(len(values), -1),) * 2)
        flat = values.reshape(len(values), -1)
        good = np.isfinite(flat) if flat.dtype.kind == "f" else np.ones(flat.shape, bool)
        if not good.all():
            flat = np.where(good, flat, np.nan)
        judged = good[:, counts] if good.shape[1] == len(counts) else good
        rows.append(np.asarray(~judged.all(1)))
        if not judged.all():
            bad.append((episode, first + int(np.flatnonzero(rows[-1])[0])))
        elif whole and good.all():
            why = source.unlike(name, episode, recorded)
            unlike += [] if why is None else [(episode, why)]
        if good.any():
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a dimension that is all NaN
                ends = np.nanmin(flat.astype(float), 0), np.nanmax(flat.astype(float), 0)
            low = ends[0] if low is None else np.fmin(low, ends[0])
            high = ends[1] if high is None else np.fmax(high, ends[1])
        if len(key.shape) == 1 and key.shape[0] >= 4 and not bad:
            signs = _jumps(flat, episode, signs, first)
    if bad:
        frames = ", ".join(f"episode {e} frame {f}" for e, f in bad[:3])
        line = f"{name}: NaN or infinity in {len(bad)} episodes: {frames}{_more(bad)}"
        odd.append((offer(name, rows) if whole else None) or line)
    if unlike:
        others = f" (so {len(unlike)} episodes)" if len(unlike) > 1 else ""
        odd.append(f"{name}, episode {unlike[0][0]}: {unlike[0][1]}{others}")
    told = is_action(name) or label(name) is None or chosen.columns is not None
    if low is not None and high is not None:
        made.low, made.high = float(np.nanmin(low)), float(np.nanmax(high))
        if told and len(key.shape) == 1:
            still = np.flatnonzero((low == high) & counts)
            if still.size and sum(source.lengths) > 1:
                shown = ", ".join(f"{d} ({low[d]:g})" for d in still[:6])
                odd.append(f"{name}: constant dimensions {shown}{_more(still, 6)}")
        elif told and made.low == made.high:
            odd.append(f"{name}: every value is {made.low:g}")
    spans: list[Extent | None] = []
    if parts and key.dtype != "bool":
        lengths = [len(x) for x, _ in parts]
        lows, highs = (np.concatenate(x) for x in zip(*parts, strict=True))
        spans = extents(lows, highs)
        for glitch in glitches(lows, highs, lengths) if told and not bad else ():
            if cloud or counts[glitch.dimension]:
                odd.append(glitch.said(name, lengths, read, first))
                if (span := spans[glitch.dimension]) is not None:
                    spans[glitch.dimension] = span.struck(glitch, odd[-1])
    for start, places in (signs or {}).items():
        if places and counts[start : start + 4].any():
            shown = ", ".join(f"episode {e} frame {f}" for e, f in places[:3])
            odd.append(
                f"{name}, columns {start} to {start + 3}: a quaternion that jumps its sign "
                f"{len(places)} times: {shown}{_more(places)}"
            )
    return made, odd, spans


def _values(source: Source, name: str, episode: int, whole: bool) -> NDArray[Any]:
    return source.read(name, episode) if whole else next(source.blocks(name, episode))


def _jumps(
    values: NDArray[Any],
    episode: int,
    known: dict[int, list[tuple[int, int]]] | None,
    dropped: int,
) -> dict[int, list[tuple[int, int]]]:
    """Per first column of four that are of unit length in every frame so far, where q became
    nearly -q from one frame to the next."""
    starts = range(values.shape[1] - 3) if known is None else list(known)
    made = {}
    for start in starts:
        four = values[:, start : start + 4].astype(float)
        if np.abs(np.linalg.norm(four, axis=1) - 1).max() < _UNIT:
            turned = np.flatnonzero((four[1:] * four[:-1]).sum(1) < -0.5) + 1 + dropped
            places = [(episode, int(frame)) for frame in turned]
            made[start] = (known or {}).get(start, []) + places
    return made


def _more(items: Any, shown: int = 3) -> str:
    return " …" if len(items) > shown else ""
