"""Hold a camera's intervals against its rows and its video: which episodes' images can be found.

    from_s + a row's time     when its image is shown
    from_s to to_s            must end where the last row's image does
    what a video shows        must have an image less than half a period from each row's time

Episodes lie in a file one after another. Frames that belong to none (in front, between episodes,
at the end) hurt nothing as long as the video has them. Where two episodes claim the same frames, or
what is claimed goes past the video's end, times contradict each other: those are refused that
neither begin where the video begins nor end where it ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.layouts.lerobot_meta import Interval
from ofp_edge.data.layouts.lerobot_rows import Rows

_HALF = 0.5  # of a period
_SLACK = 0.02  # of a period: what times lose in float32, and as ticks of a video
_ANOTHER_RATE = 0.1  # of a period


@dataclass
class Judgement:
    """One camera in one file. shift_s: when the video begins that its times are counted from.
    wrong: by episode. odd: one line, by episode where it is one's own."""

    shift_s: float = 0.0
    wrong: dict[int, str] = field(default_factory=dict)
    odd: str | None = None


@dataclass(frozen=True)
class _Claim:
    """What one episode claims of a video: first to end, in seconds."""

    episode: int
    first_s: float
    end_s: float
    times_s: NDArray[np.float64]


class _Run:
    """Claims that follow each other. held: whether they begin or end where the video does."""

    def __init__(self, claims: list[_Claim], begin: float, end: float, half: float) -> None:
        self.claims = claims
        self.held = abs(claims[0].first_s - begin) <= half or abs(claims[-1].end_s - end) <= half


def judged(
    intervals: Mapping[int, Interval],
    rows: Mapping[int, Rows],
    shown_s: NDArray[np.float64],
    rate_hz: float,
) -> Judgement:
    """Judge the episodes of one file. shown_s: (n,) when the video shows its frames, in order."""
    period, found = 1 / rate_hz, Judgement()
    file = next(iter(intervals.values())).file
    if not len(shown_s):
        return Judgement(wrong=dict.fromkeys(intervals, f"video {file} has no frames"))
    claims = []
    unknown = {episode for episode in intervals if rows[episode].wrong is not None}
    for episode, interval in intervals.items():
        times = rows[episode].times_s
        if episode in unknown:
            times = np.arange(len(times), dtype=np.float64) * period
        elif len(times) and (why := _length(interval, times, rate_hz)):
            found.wrong[episode] = why
        if len(times):
            at = interval.from_s + times
            claims.append(_Claim(episode, float(at[0]), float(at[-1]) + period, at))
    claims.sort(key=lambda x: x.first_s)
    if not claims:
        return found
    found.shift_s = _shift(claims, shown_s, period)
    begin, end = shown_s[0] - found.shift_s, shown_s[-1] + period - found.shift_s
    runs = [_Run(x, begin, end, _HALF * period) for x in _runs(claims, period)]
    _overlaps(runs, period, found, unknown)
    for claim in claims:
        if claim.episode not in found.wrong and claim.episode not in unknown:
            if (why := _unfound(claim, shown_s, found.shift_s, period)) is not None:
                found.wrong[claim.episode] = why
    _past_the_end(runs, shown_s, end, period, found)
    if found.wrong:  # then that says it
        return found
    found.odd = _surplus(claims, shown_s, found, file, period)
    return found


def _length(interval: Interval, times: NDArray[np.float64], rate_hz: float) -> str | None:
    """Say where an interval does not end with its last row."""
    if interval.to_s is None:
        return None
    stated, has = interval.to_s - interval.from_s, float(times[-1]) + 1 / rate_hz
    off = (stated - has) * rate_hz
    if abs(off) <= _HALF + _SLACK:
        return None
    return (
        f"from_timestamp {interval.from_s:.4g} to to_timestamp {interval.to_s:.4g} s are "
        f"{stated * rate_hz:.3g} frames, expected the {has * rate_hz:.3g} that its rows take: "
        f"{abs(off):.3g} too {'many' if off > 0 else 'few'}, and nothing says which. Correct "
        "meta/episodes"
    )


def _shift(claims: list[_Claim], shown_s: NDArray[np.float64], period: float) -> float:
    """When the video begins, if times are counted from there: it begins late, and all that it shows
    is claimed exactly once counted so."""
    first, half = float(shown_s[0]), _HALF * period
    late = first >= half and claims[0].first_s < first - half
    whole = abs(claims[-1].end_s - (shown_s[-1] + period - first)) < half
    return first if late and whole and abs(claims[0].first_s) < half else 0.0


def _runs(claims: list[_Claim], period: float) -> list[list[_Claim]]:
    """Claims that follow each other without a gap or an overlap."""
    runs: list[list[_Claim]] = []
    for claim in claims:
        if runs and abs(claim.first_s - runs[-1][-1].end_s) <= _HALF * period:
            runs[-1].append(claim)
        else:
            runs.append([claim])
    return runs


def _overlaps(runs: list[_Run], period: float, found: Judgement, unknown: set[int]) -> None:
    """Refuse where two episodes claim the same frames and no length tells which is wrong."""
    known_wrong = unknown | set(found.wrong)
    for one, other in itertools.pairwise(runs):
        last, first = one.claims[-1], other.claims[0]
        frames = (last.end_s - first.first_s) / period
        if frames < _HALF or {last.episode, first.episode} & known_wrong:
            continue
        why = (
            f"episodes {last.episode} and {first.episode} claim the same {frames:.3g} frames from "
            f"{first.first_s:.4g} s on. Correct meta/episodes"
        )
        if one.held and other.held:
            refused = [last, first]
        else:
            refused = [x for run in (one, other) if not run.held for x in run.claims]
        for claim in refused:
            beside = "" if claim in (last, first) else "its times go on from where "
            found.wrong.setdefault(claim.episode, beside + why)


def _unfound(
    claim: _Claim, shown_s: NDArray[np.float64], shift_s: float, period: float
) -> str | None:
    """Say which row has no image, or shares one."""
    wanted, half = claim.times_s + shift_s, _HALF * period
    nearest = _nearest(shown_s, wanted)
    bad = np.abs(shown_s[nearest] - wanted) >= half
    if bad.any():
        row = int(np.argmax(bad))
        return (
            f"no frame within {half:.3g} s of row {row} at {wanted[row]:.4g} s, the nearest is "
            f"shown at {shown_s[nearest[row]]:.4g} s: {int((~bad).sum())} of {len(bad)} rows have "
            f"one (the video has {len(shown_s)} frames, to {shown_s[-1]:.4g} s)"
        )
    if len(same := np.flatnonzero(np.diff(nearest) <= 0)):
        row = int(same[0])
        return f"rows {row} and {row + 1} have the same frame at {shown_s[nearest[row]]:.4g} s"
    return None


def _past_the_end(
    runs: list[_Run], shown_s: NDArray[np.float64], end: float, period: float, found: Judgement
) -> None:
    """Where more is claimed than the video has, refuse what comes after a gap: the frames that
    would lie in it aren't there. All of it, where the video is of another rate."""
    last = max(run.claims[-1].end_s for run in runs)
    if last <= end + _HALF * period:
        return
    step = float(np.median(np.diff(shown_s))) if len(shown_s) > 1 else period
    other = abs(step / period - 1) > _ANOTHER_RATE
    why = f"frames are {step:.4g} s apart, expected {period:.4g}" if other else "a gap lies before"
    for claim in (x for run in runs if other or not run.held for x in run.claims):
        found.wrong.setdefault(
            claim.episode,
            f"{why}, and rows go on to {last:.4g} s, {(last - end) / period:.3g} frames past the "
            f"video's end at {end:.4g} s",
        )


def _surplus(
    claims: list[_Claim], shown_s: NDArray[np.float64], found: Judgement, file: Path, period: float
) -> str | None:
    """Say how many frames belong to no row, and where."""
    at = [_nearest(shown_s, x.times_s + found.shift_s) for x in claims]
    claimed = np.unique(np.concatenate(at))
    parts = []
    if (spare := len(shown_s) - len(claimed)) > 0:
        inside = int(claimed[-1] - claimed[0] + 1 - len(claimed))
        where = {
            "before the first": int(claimed[0]),
            "between": inside,
            "after the last": int(len(shown_s) - 1 - claimed[-1]),
        }
        text = ", ".join(f"{n} {name}" for name, n in where.items() if n)
        parts.append(f"{file.name} has {spare} frames that no row has ({text})")
    if found.shift_s:
        parts.append(f"{file.name} begins at {found.shift_s:.4g} s: times are counted from there")
    return "; ".join(parts) or None


def _nearest(shown_s: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which of the sorted `shown_s` is nearest to each time."""
    after = np.searchsorted(shown_s, times_s)
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(shown_s) - 1)
    is_after = np.abs(shown_s[after] - times_s) < np.abs(times_s - shown_s[before])
    return np.where(is_after, after, before)
