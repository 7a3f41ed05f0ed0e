"""Which way of measuring a robot's delay is misled the least: errors on emulated robots.

delay_methods.py [--trials N]     threshold, cross-correlation and fit, against known delays
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, from anywhere

from ofp_edge.errors import RobotError  # noqa: E402
from ofp_edge.runtime.delay.estimate import estimate  # noqa: E402
from ofp_edge.runtime.delay.motion import smooth  # noqa: E402

LONGEST_MS, REST_S, RISE_S, AMPLITUDE = 500.0, 0.5, 0.4, 5.0
Series = NDArray[np.float64]
Trial = tuple[Series, Series, Series, Series]  # sent ms, told, read ms, seen


def emulate(
    rng: np.random.Generator, dead_ms: float, lag_ms: float, noise: float, tick: float, hz: float
) -> Trial:
    """One step out and back on a robot of a dead time and a lag, whose encoder has ticks."""
    dt = 1e3 / hz
    sent = np.arange(0, 1e3 * 2 * (REST_S + RISE_S), dt)
    t = sent / 1e3
    told = AMPLITUDE * (smooth(t / RISE_S) - smooth((t - REST_S - RISE_S) / RISE_S))
    fine = np.arange(0, sent[-1] + dt)
    goal = told[np.maximum(np.searchsorted(sent + dead_ms, fine, side="right") - 1, 0)]
    place, share = np.empty_like(fine), 1.0 if lag_ms == 0 else 1 - np.exp(-1 / lag_ms)
    here = 0.0
    for k, x in enumerate(goal):
        here += share * (x - here)
        place[k] = here
    read = sent - rng.uniform(0, dt / 2, len(sent))
    seen = np.interp(read, fine, place) + rng.normal(0, noise, len(read))
    return sent, told, read, np.round(seen / tick) * tick if tick else seen


def by_threshold(trial: Trial) -> float:
    """When a tenth of the way is passed, of what is seen and of what is told."""
    sent, told, read, seen = trial
    level = 0.1 * AMPLITUDE
    return float(read[np.argmax(seen > level)] - sent[np.argmax(told > level)])


def by_correlation(trial: Trial) -> float:
    """The shift of the readings that follow the commands best."""
    sent, told, read, seen = trial
    fine = np.arange(sent[0], sent[-1])
    goal = told[np.searchsorted(sent, fine, side="right") - 1]
    place = np.interp(fine, read, seen)
    shifts = np.arange(0, int(LONGEST_MS))
    found = [np.corrcoef(goal[: len(fine) - s], place[s:])[0, 1] for s in shifts]
    return float(shifts[int(np.argmax(found))])


def by_fit(trial: Trial) -> float:
    """As `ofp-edge rig delay` does."""
    sent, told, read, seen = trial
    ns = [(x * 1e6).astype(np.int64) for x in (sent, read)]
    return estimate(ns[0], told, ns[1], seen, LONGEST_MS).delay_ms


METHODS: dict[str, Callable[[Trial], float]] = {
    "threshold": by_threshold, "cross-correlation": by_correlation, "fit": by_fit,
}  # fmt: skip
ROBOTS = {  # dead ms, lag ms, noise, encoder tick (degrees; a step is 5), Hz
    "dead time 40": (40, 0, 0, 0, 50),
    "… at 20 Hz": (40, 0, 0, 0, 20),
    "dead 40, lag 30": (40, 30, 0, 0, 50),
    "… noise 0.05": (40, 30, 0.05, 0, 50),
    "… noise 0.3": (40, 30, 0.3, 0, 50),
    "… encoder 0.5": (40, 30, 0, 0.5, 50),
    "… both, 30 Hz": (40, 30, 0.3, 0.5, 30),
    "dead 120, lag 80": (120, 80, 0.05, 0.088, 30),
}


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=20)
    trials = parser.parse_args().trials
    print("| robot, ms | " + " | ".join(METHODS) + " |\n|---|" + "---|" * len(METHODS))
    for name, (dead, lag, *rest) in ROBOTS.items():
        cells = []
        for method in METHODS.values():
            rng, errors, lost = np.random.default_rng(0), [], 0
            for _ in range(trials):
                try:
                    errors.append(method(emulate(rng, dead, lag, *rest)) - dead - lag)
                except RobotError:
                    lost += 1
            spread = f"{np.mean(errors):+.1f} ± {np.std(errors):.1f}" if errors else "-"
            cells.append(spread + (f" ({lost} refused)" if lost else ""))
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
