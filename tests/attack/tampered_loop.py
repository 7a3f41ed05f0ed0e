"""Loops with a fault put in, to see whether the oracle notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ofp_edge.runtime.control.events import Command, Event, NotSent
from ofp_edge.runtime.control.loop import ControlLoop
from ofp_edge.runtime.control.stopping import StopFlag

Tampered = Callable[[ControlLoop, StopFlag], None]


def _sends_late(loop: Any, stop: StopFlag) -> None:
    obey = loop._obey

    def at_any_time(command: Command, tick_ns: int, dry_run: bool) -> int | None:
        sent: int | None = obey(command, loop.clock(), dry_run)
        return sent

    loop._obey = at_any_time


def _frames_of_any_age(loop: Any, stop: StopFlag) -> None:
    loop.observer._max_age_ns["front"] = 10**18


def _frozen_pictures(loop: Any, stop: StopFlag) -> None:
    loop.observer._pictures["front"]._frozen["depth"]._after = 0


def _any_state_for_a_frame(loop: Any, stop: StopFlag) -> None:
    loop.planner.states.max_apart_ns = None


def _leaves_the_robot(loop: Any, stop: StopFlag) -> None:
    loop._stop_robot = lambda: None


def _hears_no_stop_input(loop: Any, stop: StopFlag) -> None:
    loop._stop_input = None


def _hears_no_signal(loop: Any, stop: Any) -> None:
    stop.set = lambda reason: None


class _Silent(list[Event]):
    def append(self, event: Event) -> None:
        if not isinstance(event, NotSent):
            super().append(event)


def _does_not_say_what_was_late(loop: Any, stop: StopFlag) -> None:
    loop._noted = _Silent()


# And what has to go wrong for it to show.
LOOP_FAULTS: dict[str, tuple[Tampered, tuple[str, ...]]] = {
    "sends late": (_sends_late, ("state_blocks",)),
    "takes frames of any age": (_frames_of_any_age, ("camera_old", "camera_lost")),
    "takes frozen pictures": (_frozen_pictures, ("camera_freezes",)),
    "takes any state for a frame": (_any_state_for_a_frame, ("send_blocks",)),
    "leaves the robot as it is": (_leaves_the_robot, ("starved",)),
    "hears no stop input": (_hears_no_stop_input, ("stop_input",)),
    "hears no signal": (_hears_no_signal, ("stop",)),
    "does not say what was late": (_does_not_say_what_was_late, ("state_blocks",)),
}
