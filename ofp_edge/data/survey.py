"""Survey a source's content and its oddities, for people, before they train on it.

Numbers are read whole; of images the first block of at most eight episodes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.edges import offer
from ofp_edge.data.glitches import CLIP, glitches
from ofp_edge.data.guess.words import label
from ofp_edge.data.source import Key, Source
from ofp_edge.data.times import KEYS, odd_stamps, time_steps
from ofp_edge.progress import Progress, silent

TIME_TOLERANCE_S = 1e-3
"""The largest distance that a frame's time may have from the rate's grid."""
_LOOKED_AT = 8
_HALF = 0.5  # of a period
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
    """Describes a source. odd: one line for each thing to look at before training."""

    keys: list[KeySurvey] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def survey(source: Source, progress: Progress = silent, clipped: Collection[str] = ()) -> Survey:
    """Read a source through. clipped: keys whose far values a mapping clips, which are not odd
    then. DatasetError when it cannot be read."""
    found = Survey(odd=list(source.notes))
    left: list[str] = []
    for number, (name, key) in enumerate(source.keys.items()):
        progress(number, len(source.keys), name)
        episodes = []
        for episode in range(len(source.lengths)):
            if (why := source.wrong(episode, (name,))) is None:
                episodes.append(episode)
            elif why not in left:
                left.append(why)
        odd: list[str] = []
        found.keys.append(_look(source, name, key, episodes, odd))
        found.odd += [x for x in odd if not (x.endswith(CLIP) and name in clipped)]
        found.odd += [x for x in source.odd(name, episodes) if x not in found.odd]
        if source.rates_hz:
            found.odd += odd_stamps(source, (name,), episodes, source.rates_hz[0])
    found.odd += [f"{why} Leave the episode out" for why in left[:_LOOKED_AT]]
    if len(left) > _LOOKED_AT:
        found.odd.append(f"{len(left) - _LOOKED_AT} more of that kind")
    progress(len(source.keys), len(source.keys))
    found.odd += _odd_rates(source)
    return found


def _look(source: Source, name: str, key: Key, episodes: list[int], odd: list[str]) -> KeySurvey:
    whole = len(key.shape) < 2 or len(source.lengths) <= _LOOKED_AT and not key.is_image
    made = KeySurvey(name, key.shape, key.dtype, whole=whole)
    picked = episodes if whole else [episodes[i] for i in _spread(len(episodes))]
    low, high, bad = None, None, []
    unread: list[NDArray[np.bool_]] = []
    unlike: list[tuple[int, str]] = []
    signs: dict[int, list[tuple[int, int]]] | None = None
    parts: list[tuple[NDArray[Any], NDArray[Any]]] = []
    cloud = len(key.shape) == 2 and key.shape[1] in (3, 6) and key.shape[0] > 0
    for episode in picked:
        values = _values(source, name, episode, whole)
        if cloud:
            parts.append((values[..., :3].min(1), values[..., :3].max(1)))
        elif len(key.shape) < 2:
            parts.append((values.reshape(len(values), -1),) * 2)
        flat = values.reshape(len(values), -1)
        good = np.isfinite(flat) if flat.dtype.kind == "f" else np.ones(flat.shape, bool)
        unread.append(np.asarray(~good.all(1)))
        if not good.all():
            bad.append((episode, int(np.flatnonzero(~good.all(1))[0])))
            flat = np.where(good, flat, np.nan)
        elif whole and (why := source.unlike(name, episode, values)) is not None:
            unlike.append((episode, why))
        if good.any():
            ends = np.nanmin(flat.astype(float), 0), np.nanmax(flat.astype(float), 0)
            low = ends[0] if low is None else np.fmin(low, ends[0])
            high = ends[1] if high is None else np.fmax(high, ends[1])
        if len(key.shape) == 1 and key.shape[0] >= 4 and not bad:
            signs = _jumps(flat, episode, signs)
    if bad:
        frames = ", ".join(f"episode {e} frame {f}" for e, f in bad[:3])
        line = f"{name}: NaN or infinity in {len(bad)} episodes: {frames}{_more(bad)}"
        odd.append((offer(name, unread) if whole else None) or line)
    if unlike:
        others = f" (so {len(unlike)} episodes)" if len(unlike) > 1 else ""
        odd.append(f"{name}, episode {unlike[0][0]}: {unlike[0][1]}{others}")
    if low is not None and high is not None:
        made.low, made.high = float(np.nanmin(low)), float(np.nanmax(high))
        told = label(name) is None
        if told and len(key.shape) == 1:
            still = np.flatnonzero(low == high)
            if still.size and sum(source.lengths) > 1:
                shown = ", ".join(f"{d} ({low[d]:g})" for d in still[:6])
                odd.append(f"{name}: constant dimensions {shown}{_more(still, 6)}")
        elif told and made.low == made.high:
            odd.append(f"{name}: every value is {made.low:g}")
    if parts and not bad and label(name) is None and key.dtype != "bool":
        lengths = [len(x) for x, _ in parts]
        lows, highs = (np.concatenate(x) for x in zip(*parts, strict=True))
        odd += [x.said(name, lengths, picked, 0) for x in glitches(lows, highs, lengths)]
    for start, places in (signs or {}).items():
        if places:
            shown = ", ".join(f"episode {e} frame {f}" for e, f in places[:3])
            odd.append(
                f"{name}, columns {start} to {start + 3}: a quaternion that jumps its sign "
                f"{len(places)} times: {shown}{_more(places)}"
            )
    return made


def _values(source: Source, name: str, episode: int, whole: bool) -> NDArray[Any]:
    return source.read(name, episode) if whole else next(source.blocks(name, episode))


def _spread(count: int) -> list[int]:
    return sorted(
        set(np.linspace(0, max(0, count - 1), min(count, _LOOKED_AT)).astype(int).tolist())
    )


def _jumps(
    values: NDArray[Any], episode: int, known: dict[int, list[tuple[int, int]]] | None
) -> dict[int, list[tuple[int, int]]]:
    """Per first column of four that are of unit length in every frame so far, where q became
    nearly -q from one frame to the next."""
    starts = range(values.shape[1] - 3) if known is None else list(known)
    made = {}
    for start in starts:
        four = values[:, start : start + 4].astype(float)
        if np.abs(np.linalg.norm(four, axis=1) - 1).max() < _UNIT:
            turned = np.flatnonzero((four[1:] * four[:-1]).sum(1) < -0.5) + 1
            places = [(episode, int(frame)) for frame in turned]
            made[start] = (known or {}).get(start, []) + places
    return made


def _odd_rates(source: Source) -> list[str]:
    odd = []
    if len(source.rates_hz) > 1:
        odd.append(f"mixed rates: {', '.join(f'{x:g}' for x in source.rates_hz)} Hz")
    if not source.rates_hz:
        odd.append("the layout states no rate: give control_hz in a mapping")
    rate, room_s, off = _rate(source), TIME_TOLERANCE_S, []
    if rate is None:
        return odd
    if not source.rates_hz:  # stamps of a clock, which nobody said to be even
        room_s = _HALF / rate
    for episode in range(len(source.lengths)):
        if source.wrong(episode, [x for x in KEYS if x in source.keys]) is not None:
            continue
        steps = time_steps(source, episode)
        if steps is None:
            return odd
        if len(steps) and (worst := float(np.abs(steps - 1 / rate).max())) > room_s:
            off.append((worst, episode, int(np.abs(steps - 1 / rate).argmax()) + 1))
    if off:
        worst, episode, frame = max(off)
        odd.append(
            f"timestamps of {len(off)} episodes do not fit {rate:g} Hz: most at episode {episode} "
            f"frame {frame}, {worst * 1e3:.3g} ms off"
        )
    return odd


def _rate(source: Source) -> float | None:
    """The stated rate, else that of most of the first episode's stamps."""
    if source.rates_hz:
        return source.rates_hz[0]
    keys = [x for x in KEYS if x in source.keys]
    if not keys or source.wrong(0, keys) is not None:
        return None
    steps = time_steps(source, 0)
    median = float(np.median(steps)) if steps is not None and len(steps) else 0.0
    return 1 / median if np.isfinite(median) and median > 0 else None


def _more(items: Any, shown: int = 3) -> str:
    return " …" if len(items) > shown else ""
