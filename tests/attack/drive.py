"""One schedule through the state machine, with the oracle watching."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ofp_edge.errors import RigError
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import (
    Command,
    EpisodeStarted,
    Event,
    NotSent,
    StateRead,
    StopRequested,
    Told,
)
from ofp_edge.runtime.run_files import make_controller
from tests.attack.broken import Broken
from tests.attack.oracle import Oracle
from tests.attack.planner import RoughPlanner
from tests.attack.scenario import Scenario, draw_scenario
from tests.attack.schedule import Schedule
from tests.attack.world import World

AFTER_STOP = 6
Step = Callable[[int, list[Event]], Command]


@dataclass
class Ran:
    """ticks: how many there were. broken: the promise that was not kept, at the tick `at`."""

    ticks: int = 0
    broken: Broken | None = None
    at: int = 0
    refused: str = ""
    fault: str = ""
    kinds: Counter[str] = field(default_factory=Counter)


def run(schedule: Schedule, tampered: Callable[[Controller, Scenario], Step] | None = None) -> Ran:
    """Every tick until the schedule ends, some ticks after a stop, or a promise is broken.

    tampered: what stands in place of the controller's `step`, to see whether it is noticed.
    """
    scenario = draw_scenario(schedule.seed).without(schedule.without)
    ran = Ran()
    try:
        rig = scenario.rig()
        rig.require_fits(scenario.spec)
        refine = 10**7 if schedule.seed % 4 == 0 else None
        controller = make_controller(scenario.spec, rig, refine)
    except RigError as cause:
        ran.refused = str(cause)
        return ran
    step = controller.step if tampered is None else tampered(controller, scenario)
    _ticks(schedule, scenario, step, ran)
    return ran


def _ticks(schedule: Schedule, scenario: Scenario, step: Step, ran: Ran) -> None:
    rng = np.random.default_rng([schedule.seed, 3])
    world, planner = World(scenario, rng), RoughPlanner(scenario, rng)
    oracle = Oracle(scenario)
    unsent = False
    now_ns, left = int(rng.integers(10**9, 10**12)), AFTER_STOP
    for tick in range(schedule.ticks):
        troubles = schedule.active(tick)
        events: list[Event] = []
        reading = world.reading(now_ns, troubles)
        if reading is not None:
            events.append(StateRead(reading))
        events.extend(planner.take(now_ns))
        if unsent:
            events.append(NotSent())
            oracle.not_sent()
        if tick == 0 or "episode" in troubles:
            events.append(EpisodeStarted(now_ns))
        if "told" in troubles:
            events.append(Told(f"words of tick {tick}"))
        if "stop" in troubles:
            events.append(StopRequested("somebody said stop"))
        ran.ticks, ran.at = tick + 1, tick
        try:
            command = stepped(step, now_ns, events)
            oracle.see(now_ns, events, command)
        except Broken as broken:
            ran.broken = broken
            return
        ran.kinds[command.kind] += 1
        if command.kind == "stop":
            ran.fault, left = ran.fault or command.reason, left - 1
            if not left:
                return
        unsent = command.action is not None and "unsent" in troubles
        world.obey(None if unsent else command.action, troubles)
        if command.order is not None:
            planner.give(command.order, now_ns, world.staying(), troubles)
        now_ns = _next(now_ns, scenario.dt_ns, troubles)


def stepped(step: Step, now_ns: int, events: list[Event]) -> Command:
    """A step; whatever it raises is a promise not kept."""
    try:
        return step(now_ns, events)
    except Exception as cause:
        where: Any = cause.__traceback__
        while where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename.rpartition('/')[2]}:{where.tb_lineno}"
        raise Broken("raised", f"{type(cause).__name__} at {place}: {cause}") from None


def _next(now_ns: int, dt_ns: int, troubles: dict[str, Any]) -> int:
    if (forward := troubles.get("clock_forward")) is not None:
        few = forward.which % 2 == 0  # so few that a plan is still followed
        return now_ns + dt_ns * (2 + forward.which % (4 if few else 64))
    if (back := troubles.get("clock_back")) is not None:
        return now_ns - dt_ns * (1 + back.which)
    return now_ns if "clock_same" in troubles else now_ns + dt_ns
