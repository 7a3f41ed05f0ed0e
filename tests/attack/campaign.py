"""Many schedules, what they broke, and for each promise one small schedule that breaks it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.attack.drive import Ran, run
from tests.attack.drive_loop import run_loop
from tests.attack.schedule import KINDS, LOOP_KINDS, Schedule, draw_schedule
from tests.attack.shrink import shrunk

TICKS = 120
_DRIVES: dict[str, tuple[Callable[[Schedule], Ran], tuple[str, ...]]] = {
    "controller": (run, KINDS),
    "loop": (run_loop, LOOP_KINDS),
}


@dataclass
class Found:
    """ticks, schedules: how many there were; refused: rigs that were. broken: by promise."""

    ticks: int = 0
    schedules: int = 0
    refused: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Those of another process."""
        self.ticks += other.ticks
        self.schedules += other.schedules
        self.refused += other.refused
        self.kinds += other.kinds
        self.broken += other.broken
        self.examples = {**other.examples, **self.examples}

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the examples."""
        return {
            "ticks": self.ticks,
            "schedules": self.schedules,
            "refused": self.refused,
            "commands": dict(self.kinds),
            "broken": dict(self.broken),
        }


def attack(seed: int, ticks: int) -> Found:
    """Schedules from `seed` on until there were so many ticks, each through both in turn."""
    found = Found()
    while found.ticks < ticks:
        for name, (drive, kinds) in _DRIVES.items():
            schedule = draw_schedule(seed, TICKS, kinds)
            ran = drive(schedule)
            found.schedules += 1
            found.ticks += ran.ticks
            found.kinds += ran.kinds
            found.refused += bool(ran.refused)
            if ran.broken is not None:
                promise = f"{name}, {ran.broken.promise}"
                found.broken[promise] += 1
                if promise not in found.examples:
                    found.examples[promise] = _example(name, schedule, ran)
        seed += 1
    return found


def _example(name: str, schedule: Schedule, ran: Ran) -> str:
    drive = _DRIVES[name][0]
    assert ran.broken is not None
    promise = ran.broken.promise

    def fails(smaller: Schedule) -> bool:
        broken = drive(smaller).broken
        return broken is not None and broken.promise == promise

    small = shrunk(schedule, ran.at, fails)
    said = drive(small).broken
    return f"{said}\n  {json.dumps({'through': name, **small.to_json()})}"


def reproduce(value: dict[str, Any]) -> str:
    """What a schedule breaks, or nothing."""
    ran = _DRIVES[value.get("through", "controller")][0](Schedule.from_json(value))
    return f"tick {ran.at}: {ran.broken}" if ran.broken else ran.refused
