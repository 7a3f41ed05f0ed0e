"""What goes wrong and when: a list of troubles drawn from a seed, each of which can be left out.

A trouble acts on ticks `tick` .. `tick + span - 1`. Everything else about a schedule follows from
its seed, so (seed, ticks, troubles) is a whole failure, and a shorter list is a smaller one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

READINGS = (
    "glitch",
    "jump",
    "freeze_values",
    "silent",
    "future_stamp",
    "past_stamp",
    "unix_stamp",
    "stamp_in_ms",
    "nan",
    "inf",
    "outside",
    "short_state",
    "absent_state",
    "no_reading",
)
CLOCKS = ("clock_forward", "clock_back", "clock_same")
CHUNKS = (
    "late",
    "lost",
    "nan_chunk",
    "inf_chunk",
    "huge_chunk",
    "few_rows",
    "no_rows",
    "wide",
    "flat",
    "beyond_range",
    "future_frame",
    "old_frame",
    "twice",
    "unasked",
    "jump_chunk",
)
OTHERS = ("dead_planner", "unsent", "blocked", "stuck", "pushed", "episode", "told", "stop")
KINDS = READINGS + CLOCKS + CHUNKS + OTHERS
LOOP_KINDS = (
    *READINGS,
    "clock_forward",
    "clock_back",
    "late",
    "nan_chunk",
    "inf_chunk",
    "huge_chunk",
    "beyond_range",
    "jump_chunk",
    "stuck",
    "pushed",
    "stop",
    "stop_input",
    "state_error",
    "state_blocks",
    "send_blocks",
    "send_error",
    "stop_error",
    "starved",
    "camera_lost",
    "camera_repeats",
    "camera_freezes",
    "camera_future",
    "camera_old",
    "camera_error",
    "planner_dies",
)
_LONG = (
    "freeze_values",
    "silent",
    "dead_planner",
    "stuck",
    "late",
    "lost",
    "jump",
    "pushed",
    "beyond_range",
    "jump_chunk",
    "camera_lost",
    "camera_repeats",
    "camera_freezes",
    "camera_future",
)


@dataclass(frozen=True)
class Trouble:
    """value: how bad, 0..1, in what a kind understands by it; which: a field or a side."""

    tick: int
    kind: str
    span: int = 1
    value: float = 0.5
    which: int = 0


@dataclass(frozen=True)
class Schedule:
    """Of `draw_scenario(seed)`, without these of its limits."""

    seed: int
    ticks: int
    troubles: tuple[Trouble, ...]
    without: frozenset[str] = frozenset()

    def active(self, tick: int) -> dict[str, Trouble]:
        """The troubles of a tick by kind; of two of a kind the later drawn."""
        return {t.kind: t for t in self.troubles if t.tick <= tick < t.tick + t.span}

    def to_json(self) -> dict[str, Any]:
        troubles = [list(asdict(trouble).values()) for trouble in self.troubles]
        return {
            "seed": self.seed,
            "ticks": self.ticks,
            "troubles": troubles,
            "without": sorted(self.without),
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> Schedule:
        troubles = tuple(Trouble(*item) for item in value["troubles"])
        return Schedule(
            value["seed"], value["ticks"], troubles, frozenset(value.get("without", ()))
        )


def draw_schedule(seed: int, ticks: int, kinds: tuple[str, ...] = KINDS) -> Schedule:
    """Mostly a few troubles; a tenth of the schedules is calm, a tenth is nothing but trouble."""
    rng = np.random.default_rng([seed, 2])
    mean = rng.choice([0.0, 2.0, 5.0, 0.3 * ticks], p=[0.1, 0.5, 0.3, 0.1])
    troubles = []
    for _ in range(int(rng.poisson(mean))):
        kind = str(rng.choice(kinds))
        span = int(rng.integers(1, 15)) if kind in _LONG else int(rng.choice([1, 1, 1, 2, 5]))
        # The first ticks, when nothing was sent yet, are as interesting as all others together.
        tick = int(rng.integers(0, 6) if rng.random() < 0.15 else rng.integers(0, ticks))
        troubles.append(Trouble(tick, kind, span, float(rng.random()), int(rng.integers(0, 64))))
    return Schedule(seed, ticks, tuple(sorted(troubles, key=lambda t: t.tick)))
