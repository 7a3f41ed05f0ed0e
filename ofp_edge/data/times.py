"""Check whether frames were recorded at the rate that the data state, and images with their rows.

LeRobot's images are found by time (layouts/lerobot_times.py). Where images lie beside rows and have
stamps of their own, the recorder paired them: how far they are apart is said.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError

KEYS = ("timestamp", "timestamps")
_ENDINGS = ("", "_image", "_images", "_rgb", "_color", "/rgb", "/color", "/colors")
_OTHER_CLOCK_S = 1.0  # stamps so far apart are of clocks that began apart
_ANOTHER_RATE = 0.1  # of a period: the median step is so far off that it is another rate


def time_steps(source: Source, episode: int) -> NDArray[np.float64] | None:
    """Return (length - 1,) seconds between frames, or None where the source has no times."""
    if (times := source.times_s(episode)) is not None:
        return np.diff(times)
    for key in KEYS:
        if key in source.keys:
            return np.diff(source.read(key, episode).astype(np.float64).reshape(-1))
    return None


def check_times(source: Source, episode: int, rate_hz: float) -> None:
    """Raise DatasetError when an episode's median step belongs to another rate."""
    steps = time_steps(source, episode)
    if steps is not None and len(steps) and (why := another_rate(steps, rate_hz)) is not None:
        raise DatasetError(
            f"{source.path}: episode {episode}: {why}. Leave it out, or resample it."
        )


def another_rate(steps: NDArray[np.float64], rate_hz: float) -> str | None:
    """Say which rate these steps (n,) in seconds are of, if their median is of another."""
    median = float(np.median(steps))
    if abs(median * rate_hz - 1) <= _ANOTHER_RATE:
        return None
    got = f"{1 / median:.3g} Hz" if median > 0 else f"steps of {median:g} s"
    return f"its timestamps are of {got}, expected {rate_hz:g} Hz"


def odd_stamps(
    source: Source, keys: Collection[str], episodes: Sequence[int], rate_hz: float
) -> tuple[str, ...]:
    """Say of which image keys the own stamps are half a period or more from the rows' times."""
    own = next((x for x in KEYS if x in source.keys), None)
    odd = []
    for key in keys if own is not None else ():
        stamp = _stamp_of(source, key)
        if stamp is None or own is None:
            continue
        worst = (0.0, 0, 0)
        for episode in episodes:
            times, of_rows = (source.read(x, episode).astype(np.float64) for x in (stamp, own))
            off = np.abs(_beside(times.reshape(-1), of_rows.reshape(-1)))
            if len(off):
                worst = max(worst, (float(off.max()), episode, int(off.argmax())))
        if not worst[0] * rate_hz < 0.5:
            odd.append(
                f"{key}: by {stamp} its images are up to {worst[0] * 1e3:.4g} ms from their rows' "
                f"{own} (episode {worst[1]} frame {worst[2]}), half a period is "
                f"{500 / rate_hz:.4g} ms"
            )
    return tuple(odd)


def _stamp_of(source: Source, key: str) -> str | None:
    """The key that has an image key's own times, by its name."""
    if not source.keys[key].is_image:
        return None
    for stem in (key.removesuffix(x) for x in _ENDINGS if key.endswith(x)):
        folder, _, last = stem.rpartition("/")
        above = f"{folder}/" if folder else ""
        for word in KEYS:
            for name in (f"{stem}_{word}", f"{stem}/{word}", f"{above}{word}/{last}",
                         f"{word}/{last}"):  # fmt: skip
                found = source.keys.get(name)
                if found is not None and found.shape in ((), (1,)):
                    return name
    return None


def _beside(times: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far stamps are from their rows', of another clock from their middle distance."""
    off = times - rows
    middle = float(np.median(off)) if len(off) else 0.0
    return off - middle if abs(middle) > _OTHER_CLOCK_S else off
