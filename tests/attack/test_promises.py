"""The promises of docs/safety.md under attack: a short one here, a long one in scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import Command, Event
from tests.attack.campaign import attack, reproduce
from tests.attack.drive import Step, run
from tests.attack.drive_loop import run_loop
from tests.attack.scenario import Scenario
from tests.attack.schedule import KINDS, Schedule, draw_schedule
from tests.attack.shrink import shrunk
from tests.attack.tampered import FAULTS, SHOWN_BY
from tests.attack.tampered_loop import LOOP_FAULTS

SCRIPT = Path(__file__).parents[2] / "scripts" / "attack_control.py"


@pytest.mark.parametrize("block", range(4))
def test_no_schedule_breaks_a_promise(block: int) -> None:
    found = attack(1000 * block, 3_000)
    assert not found.broken, "\n".join(found.examples.values())
    assert found.ticks >= 3_000 and found.refused < found.schedules // 20


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_put_in_is_found(fault: str) -> None:
    for seed in range(1500):
        schedule = draw_schedule(seed, 120, SHOWN_BY.get(fault, KINDS))
        if run(schedule, FAULTS[fault]).broken is not None:
            return
    pytest.fail("not in 1500 schedules")


@pytest.mark.parametrize("fault", LOOP_FAULTS)
def test_a_fault_that_is_put_into_the_loop_is_found(fault: str) -> None:
    tampered, kinds = LOOP_FAULTS[fault]
    for seed in range(1500):
        if run_loop(draw_schedule(seed, 120, kinds), tampered).broken is not None:
            return
    pytest.fail("not in 1500 schedules")


def test_the_schedules_are_as_bad_as_they_should_be() -> None:
    """Otherwise the tests above show nothing."""
    kinds, faults, calm = set(), set(), 0
    for seed in range(250):
        schedule = draw_schedule(seed, 60)
        kinds |= {trouble.kind for trouble in schedule.troubles}
        ran = run(schedule)
        faults.add(" ".join(ran.fault.split()[:4]))
        calm += not ran.fault and not ran.refused
    assert kinds == set(KINDS)
    assert len(faults) > 8 and 20 < calm < 200, (calm, faults)


def test_a_schedule_goes_alike_every_time() -> None:
    """Whatever the machine does meanwhile: nothing reads a clock."""

    def noted(heard: list[bytes]) -> Callable[[Controller, Scenario], Step]:
        def made(controller: Controller, scenario: Scenario) -> Step:
            def step(now_ns: int, events: list[Event]) -> Command:
                command = controller.step(now_ns, events)
                action = b"" if command.action is None else command.action.tobytes()
                heard.append(f"{now_ns} {command.kind} {command.reason}".encode() + action)
                return command

            return step

        return made

    for seed in range(40, 48):
        first, second = list[bytes](), list[bytes]()
        run(draw_schedule(seed, 60), noted(first))
        run(draw_schedule(seed, 60), noted(second))
        assert first == second != []


def test_a_failure_is_made_small_and_can_be_tried_again() -> None:
    """Of a hundred troubles one is to blame."""
    whole = next(
        s
        for s in (draw_schedule(seed, 120) for seed in range(10_000))
        if len(s.troubles) > 20 and "stop" in {t.kind for t in s.troubles}
    )

    def fails(schedule: Schedule) -> bool:
        broken = run(schedule, FAULTS["hears no stop"]).broken
        return broken is not None and broken.promise == "stops"

    late = Schedule(whole.seed, 120, tuple(t for t in whole.troubles if t.kind == "stop"))
    assert fails(late)
    small = shrunk(whole if fails(whole) else late, 119, fails)
    assert [t.kind for t in small.troubles] == ["stop"] and fails(small)
    assert not reproduce(small.to_json()), "the state machine itself hears it"
    assert Schedule.from_json(json.loads(json.dumps(small.to_json()))) == small


def test_the_command_line_ends_with_a_summary() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--ticks", "300", "--seed", "5"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["ticks"] >= 300 and done.returncode == bool(summary["broken"]), done.stderr
