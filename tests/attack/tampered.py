"""State machines with a fault put in, to see whether the oracle notices: wrapped ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import Command, Event, NotSent, StateRead, StopRequested
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.run_files import make_controller
from tests.attack.drive import Step
from tests.attack.scenario import Scenario

Tampered = Callable[[Controller, Scenario], Step]


def forgets(limit: str) -> Tampered:
    """A rig without one of its limits."""

    def made(controller: Controller, scenario: Scenario) -> Step:
        names = frozenset({limit, *(f"{part.name}.{limit}" for part in scenario.parts)})
        if limit == "position":
            names = frozenset(
                f"{p.name}.position_{end}" for p in scenario.parts for end in ("low", "high")
            )
        return make_controller(scenario.spec, scenario.without(names).rig(), None).step

    return made


def with_timing(**factors: float) -> Tampered:
    """Another latency or plan age, as far as a schedule can have it."""

    def made(controller: Controller, scenario: Scenario) -> Step:
        changed = {k: scenario.timing[k] * factor for k, factor in factors.items()}
        timing = {**scenario.timing, **changed}
        most = 1e3 * scenario.spec.plan_steps / scenario.spec.control_hz
        timing["max_plan_age_ms"] = min(timing["max_plan_age_ms"], most - 1e-3)
        return make_controller(scenario.spec, replace(scenario, timing=timing).rig(), None).step

    return made


def with_safety(**numbers: Callable[[Any], Any]) -> Tampered:
    """Another number in place of the rig's."""

    def made(controller: Controller, scenario: Scenario) -> Step:
        changed = {k: change(scenario.safety.get(k, 2)) for k, change in numbers.items()}
        other = replace(scenario, safety={**scenario.safety, **changed})
        return make_controller(scenario.spec, other.rig(), None).step

    return made


def changes(command: Callable[[Command, int], Command]) -> Tampered:
    """What comes out is changed; the second argument counts ticks."""

    def made(controller: Controller, scenario: Scenario) -> Step:
        ticks = 0

        def step(now_ns: int, events: list[Event]) -> Command:
            nonlocal ticks
            ticks += 1
            return command(controller.step(now_ns, events), ticks)

        return step

    return made


def hears(event: Callable[[Event, int], Event | None]) -> Tampered:
    """What goes in is changed, or left out."""

    def made(controller: Controller, scenario: Scenario) -> Step:
        def step(now_ns: int, events: list[Event]) -> Command:
            heard = [event(item, now_ns) for item in events]
            return controller.step(now_ns, [item for item in heard if item is not None])

        return step

    return made


def goes_on(controller: Controller, scenario: Scenario) -> Step:
    """After a fault it sends the last command once more."""
    last: list[Command] = []

    def step(now_ns: int, events: list[Event]) -> Command:
        command = controller.step(now_ns, events)
        if command.kind == "stop" and last:
            return last.pop()
        if command.action is not None:
            last[:] = [command]
        return command

    return step


def _pushed(command: Command, ticks: int) -> Command:
    if command.action is None or ticks % 23:
        return command
    return replace(command, action=(command.action * np.float32(1.5)).astype(np.float32))


def _stamped_now(event: Event, now_ns: int) -> Event | None:
    if isinstance(event, StateRead):
        return StateRead(RobotState(now_ns, event.state.values))
    return event


def _made_finite(event: Event, now_ns: int) -> Event | None:
    if isinstance(event, StateRead):
        values = {k: np.nan_to_num(v, posinf=0, neginf=0) for k, v in event.state.values.items()}
        return StateRead(RobotState(event.state.t_ns, values))
    return event


def _deaf(event: Event, now_ns: int) -> Event | None:
    return None if isinstance(event, StopRequested) else event


def _taken_for_sent(event: Event, now_ns: int) -> Event | None:
    return None if isinstance(event, NotSent) else event


def _silent_cut(command: Command, ticks: int) -> Command:
    return replace(command, cut=())


def _another_reason(command: Command, ticks: int) -> Command:
    return replace(command, reason=f"{ticks}") if command.kind == "stop" else command


def _index_ahead(command: Command, ticks: int) -> Command:
    return command if command.index is None else replace(command, index=command.index + 1)


FAULTS: dict[str, Tampered] = {
    "forgets max_velocity": forgets("max_velocity"),
    "forgets max_acceleration": forgets("max_acceleration"),
    "forgets max_jerk": forgets("max_jerk"),
    "forgets max_lead": forgets("max_lead"),
    "forgets max_first_step": forgets("max_first_step"),
    "forgets the box": forgets("position"),
    "forgets the workspace": forgets("workspace"),
    "forgets physical_speed": forgets("physical_speed"),
    "follows plans too long": with_timing(max_plan_age_ms=1.6),
    "follows plans too early": with_timing(latency_ms=0.5),
    "pushes a command": changes(_pushed),
    "does not say what it cut": changes(_silent_cut),
    "changes its reason": changes(_another_reason),
    "says another index": changes(_index_ahead),
    "goes on after a stop": goes_on,
    "believes every stamp": hears(_stamped_now),
    "believes NaN": hears(_made_finite),
    "hears no stop": hears(_deaf),
    "takes what was not sent for sent": hears(_taken_for_sent),
    "lets states be old": with_safety(max_state_age_ms=lambda ms: 2 * ms),
    "bridges too long": with_safety(max_bridged_ticks=lambda ticks: ticks + 1),
    "forgives every cut": with_safety(max_cut_in_a_row=lambda count: 10**6),
}

# What has to go wrong for a fault to show: without it a schedule in hundreds does. Else: anything.
SHOWN_BY: dict[str, tuple[str, ...]] = {
    "forgets max_first_step": ("episode", "jump_chunk", "pushed"),
    "forgets physical_speed": ("jump", "glitch"),
    "bridges too long": ("jump",),
    "believes NaN": ("nan", "inf"),
    "takes what was not sent for sent": ("unsent",),
}
