"""What is odd about a source's rates, and about its stamps beside them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ofp_edge.data.mapping import Mapping
from ofp_edge.data.source import Source
from ofp_edge.data.times import KEYS, time_steps
from ofp_edge.errors import DatasetError

TIME_TOLERANCE_S = 1e-3
"""The largest distance that a frame's time may have from a stated rate's grid."""
_HALF = 0.5  # of a period, where only the stamps themselves say a rate


def odd_rates(source: Source, episodes: Sequence[int], mapping: Mapping | None) -> list[str]:
    """Return a line for each thing. mapping: one that somebody wrote. DatasetError where times
    can't be read."""
    odd, room_s = [], TIME_TOLERANCE_S
    rate = source.rates_hz[0] if source.rates_hz else None
    if mapping is not None and rate is not None:
        with suppress(DatasetError):  # of other rates than one: said by the trial
            rate = source.rate_of(episodes)
    elif len(source.rates_hz) > 1:
        odd.append(f"mixed rates: {', '.join(f'{x:g}' for x in source.rates_hz)} Hz")
    if rate is None and mapping is not None:
        rate = mapping.control_hz
    elif rate is None:
        odd.append("the layout states no rate: give control_hz in a mapping")
        if (rate := _of_stamps(source, episodes)) is not None:
            room_s = _HALF / rate  # nobody said that they are even
    off = []
    for episode in episodes if rate is not None else ():
        if source.wrong(episode, [x for x in KEYS if x in source.keys]) is not None:
            continue
        steps = time_steps(source, episode)
        if steps is None or rate is None:
            return odd
        if len(steps) and (worst := float(np.abs(steps - 1 / rate).max())) > room_s:
            off.append((worst, episode, int(np.abs(steps - 1 / rate).argmax()) + 1))
    if off and rate is not None:
        worst, episode, frame = max(off)
        odd.append(
            f"timestamps of {len(off)} episodes do not fit {rate:g} Hz: most at episode {episode} "
            f"frame {frame}, {worst * 1e3:.3g} ms off"
        )
    return odd


def _of_stamps(source: Source, episodes: Sequence[int]) -> float | None:
    """The rate of most of the first episode's stamps."""
    keys = [x for x in KEYS if x in source.keys]
    if not keys or not episodes or source.wrong(episodes[0], keys) is not None:
        return None
    steps = time_steps(source, episodes[0])
    median = float(np.median(steps)) if steps is not None and len(steps) else 0.0
    return 1 / median if np.isfinite(median) and median > 0 else None
