"""How much later than it is commanded a joint moves, from one trial's commands and readings.

A robot is taken for a dead time and a first-order lag: nothing happens for `dead`, then the joint
goes towards its goal by 1 - 1/e in each `lag`. Their sum is what a smooth motion comes late by, and
is found better than either: the two are told apart only by how the motion begins and ends.
Fitting such a robot is the least misled by noise and coarse encoders (scripts/delay_methods.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError

Times = NDArray[np.int64]
Places = NDArray[np.float64]
_LEAST_GAIN, _LEAST_EXPLAINED, _LEAST_NEWS = 0.3, 0.8, 0.3
_LAGS_MS = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
_COARSE_MS, _FINEST_MS = 10.0, 1.0


@dataclass(frozen=True)
class Delay:
    """What one trial says. dead_ms: until the joint begins to move. lag_ms: how far it then comes
    behind. gain: how far it moved, of what it was told. residual: RMS of what this leaves
    unexplained, in the joint's unit. resolution_ms: so far apart are the delays that fit alike, of
    which this is the middle: a control step where readings come at ticks alone."""

    dead_ms: float
    lag_ms: float
    gain: float
    residual: float
    resolution_ms: float = 0.0

    @property
    def delay_ms(self) -> float:
        """Return by how much a smooth motion comes late."""
        return self.dead_ms + self.lag_ms


def estimate(
    sent_ns: Times, told: Places, read_ns: Times, seen: Places, longest_ms: float
) -> Delay:
    """Fit a delay of at most `longest_ms` to one trial.

    sent_ns (n,), told (n,): when which place was commanded, rising; each stays the goal until the
    next. read_ns (m,), seen (m,): when the joint was where, in the same unit. Raises RobotError,
    one line, where nothing can be said: it stood still, or its readings do not follow its commands.
    """
    fresh = np.concatenate([[True], np.diff(read_ns) > 0])
    if fresh.mean() < _LEAST_NEWS:
        raise RobotError(
            f"the robot's readings are stale: {int(fresh.sum())} of {len(fresh)} were new."
        )
    read_ns, seen = read_ns[fresh], seen[fresh]
    moved, asked = _spread(seen), _spread(told)
    if moved < _LEAST_GAIN * asked:
        raise RobotError(
            f"the joint did not move: commanded {asked:.3g}, measured {moved:.3g}. Is its power "
            "on, and is this its reading?"
        )
    found = _Fit(sent_ns, told, read_ns, seen)
    dead, lag = found.best(longest_ms)
    gain, _, error = found.line(dead, lag)
    residual = float(np.sqrt(error / len(seen)))
    explained = 1 - error / max(float(((seen - seen.mean()) ** 2).sum()), 1e-300)
    if gain < _LEAST_GAIN or explained < _LEAST_EXPLAINED:
        raise RobotError(
            f"the readings do not follow the commands: a delay of up to {longest_ms:g} ms explains "
            f"{100 * max(0.0, explained):.0f} % of them, at a gain of {gain:.2f}."
        )
    least, most = found.alike(dead) if lag == 0 else (dead, dead)
    return Delay((least + most) / 2, lag, gain, residual, most - least)


class _Fit:
    """The squared error of a dead time and a lag, with gain and offset at their best."""

    def __init__(self, sent_ns: Times, told: Places, read_ns: Times, seen: Places) -> None:
        first_ns = sent_ns[0]
        self._sent = (sent_ns - first_ns) / 1e6
        self._read = (read_ns - first_ns) / 1e6
        self._told, self._seen = told, seen
        self._known: dict[float, Places] = {}
        self._costs: dict[tuple[float, float], tuple[float, float]] = {}

    def best(self, longest_ms: float) -> tuple[float, float]:
        """Return dead time and lag, ms: a coarse grid first, then ever smaller steps."""
        grid = [
            (dead, lag)
            for lag in _LAGS_MS
            for dead in np.arange(0.0, longest_ms + _COARSE_MS / 2, _COARSE_MS)
            if dead + lag <= longest_ms
        ]
        here = min(grid, key=lambda x: self._cost(*x))
        step = _COARSE_MS / 2
        while step >= _FINEST_MS:
            around = [
                (dead, lag)
                for x, y in ((0, 0), (-1, 0), (0, -1), (-1, 1), (1, -1), (1, 0), (0, 1))
                if (dead := here[0] + x * step) >= 0 and (lag := here[1] + y * step) >= 0
                if dead + lag <= longest_ms
            ]
            best = min(around, key=lambda x: self._cost(*x))
            if best == here:
                step /= 2
            here = best
        return float(here[0]), float(here[1])

    def _cost(self, dead_ms: float, lag_ms: float) -> tuple[float, float]:
        """The error, rounded so that equal ones are equal, then the delay: the shorter wins."""
        key = dead_ms, lag_ms
        if key not in self._costs:
            self._costs[key] = float(f"{self.line(*key)[2]:.9g}"), dead_ms + lag_ms
        return self._costs[key]

    def alike(self, dead_ms: float) -> tuple[float, float]:
        """Return the least and the most dead time that show the same goals at all readings."""
        changes = self._sent[1:][np.diff(self._told) != 0]
        apart = (self._read[:, None] - changes).ravel()
        later = apart[apart > dead_ms]
        most = float(later.min()) if later.size else dead_ms
        return float(apart[apart <= dead_ms].max(initial=0.0)), most

    def line(self, dead_ms: float, lag_ms: float) -> tuple[float, float, float]:
        """Return gain, offset and squared error of the readings on the modelled places."""
        places = self._places(dead_ms, lag_ms)
        x, y = places - places.mean(), self._seen - self._seen.mean()
        power = float(x @ x)
        gain = float(x @ y) / power if power > 0 else 0.0
        rest = y - gain * x
        return gain, float(self._seen.mean() - gain * places.mean()), float(rest @ rest)

    def _places(self, dead_ms: float, lag_ms: float) -> Places:
        """Where such a robot is at each reading; it rests at the first command before that."""
        at = self._sent + dead_ms
        # A reading at the very moment of a command was made before it.
        index = np.searchsorted(at, self._read, side="left") - 1
        before, index = index < 0, np.maximum(index, 0)
        goal = self._told[index]
        if lag_ms > 0:
            since = np.maximum(self._read - at[index], 0.0)
            goal = goal + (self._began(lag_ms)[index] - goal) * np.exp(-since / lag_ms)
        found: Places = np.where(before, self._told[0], goal)
        return found

    def _began(self, lag_ms: float) -> Places:
        """Where the robot is when each command begins to act."""
        if lag_ms in self._known:
            return self._known[lag_ms]
        left = np.exp(-np.diff(self._sent) / lag_ms)
        places = np.empty_like(self._told)
        places[0] = self._told[0]
        for k, share in enumerate(left):
            places[k + 1] = self._told[k] + (places[k] - self._told[k]) * share
        self._known[lag_ms] = places
        return places


def _spread(places: Places) -> float:
    """How far it went, single wrong readings left out."""
    low, high = np.percentile(places, [5, 95])
    return float(high - low)
