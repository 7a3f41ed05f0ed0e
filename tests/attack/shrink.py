"""A failing schedule made small: the fewest ticks, troubles and limits that still fail alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.attack.scenario import draw_scenario
from tests.attack.schedule import Schedule, Trouble

Fails = Callable[[Schedule], bool]


def shrunk(schedule: Schedule, at: int, fails: Fails) -> Schedule:
    """`schedule` fails at the tick `at`; `fails` says whether another one breaks the same promise.

    Greedy, and the same for the same schedule: at most a few hundred runs.
    """
    best = replace(schedule, ticks=at + 1)
    best = best if fails(best) else schedule
    best = _fewer_troubles(best, fails)
    for name in draw_scenario(best.seed).limit_names():
        smaller = replace(best, without=best.without | {name})
        if fails(smaller):
            best = smaller
    return _shorter_troubles(best, fails)


def _fewer_troubles(schedule: Schedule, fails: Fails) -> Schedule:
    """Leaves out half of them at once, then a quarter, down to one by one."""
    size = max(1, len(schedule.troubles) // 2)
    while size:
        start = 0
        while start < len(schedule.troubles):
            kept = (*schedule.troubles[:start], *schedule.troubles[start + size :])
            smaller = replace(schedule, troubles=kept)
            if fails(smaller):
                schedule = smaller
            else:
                start += size
        size //= 2
    return schedule


def _shorter_troubles(schedule: Schedule, fails: Fails) -> Schedule:
    for number, trouble in enumerate(schedule.troubles):
        for span in (1, 2, 4, 8):
            if span >= trouble.span:
                break
            smaller = replace(schedule, troubles=_with(schedule, number, span))
            if fails(smaller):
                schedule = smaller
                break
    return schedule


def _with(schedule: Schedule, number: int, span: int) -> tuple[Trouble, ...]:
    troubles = list(schedule.troubles)
    troubles[number] = replace(troubles[number], span=span)
    return tuple(troubles)
