"""The promises of docs/safety.md, held against what the state machine was told and what it said.

Nothing here comes from the code under test: limits are reckoned again from the rig's own numbers,
plans from the chunks that were handed over, the robot's place from its readings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.control.events import (
    ChunkReady,
    Command,
    EpisodeStarted,
    Event,
    PlanStarted,
    StateRead,
    StopRequested,
)
from tests.attack.broken import Broken
from tests.attack.facts import Facts
from tests.attack.motion import Motion
from tests.attack.plans import HeardPlans
from tests.attack.scenario import Scenario


class Oracle:
    """Sees every tick of one schedule; raises Broken at the first promise that was not kept."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.facts = Facts(scenario)
        self.plans = HeardPlans(scenario)
        self.motion = [Motion(scenario, part) for part in scenario.parts]
        self.fault: str | None = None
        self._last_ns: int | None = None
        self._cut_in_a_row = 0
        self._acted = self._acted_before = False

    def not_sent(self) -> None:
        """The last command never went to the robot; its period has passed."""
        self._acted = self._acted_before
        for motion in self.motion:
            motion.take_back()
            motion.stood_still()

    def see(self, now_ns: int, events: Sequence[Event], command: Command) -> None:
        """One tick, after it was decided."""
        must = self._listen(now_ns, events)
        if self.fault is not None:
            if command.kind != "stop" or command.reason != self.fault:
                raise Broken("latched", f"{command.kind} {command.reason!r} after {self.fault!r}")
            return
        if command.kind == "stop":
            self._stopped(command, now_ns, must)
            return
        if must:
            raise Broken("stops", f"{command.kind} though {must}")
        self.plans.check(now_ns, command)
        self._check_action(now_ns, command)

    def _listen(self, now_ns: int, events: Sequence[Event]) -> str:
        """Why the robot has to be stopped at this tick, or nothing."""
        must, since_ns = "", self._last_ns
        for event in events:
            if isinstance(event, StateRead):
                read_ns = event.read_ns
                self.facts.hear(event.state, now_ns if read_ns is None else max(now_ns, read_ns))
            elif isinstance(event, PlanStarted):
                self.plans.announced(event, now_ns)
            elif isinstance(event, ChunkReady):
                self.plans.heard(event.chunk)
            elif isinstance(event, EpisodeStarted):
                self._begin(event.t_ns)
                since_ns = event.t_ns
                must = must or ("the clock went back" if now_ns < event.t_ns else "")
            elif isinstance(event, StopRequested):
                must = must or "somebody said stop"
        if self._last_ns is not None and now_ns <= self._last_ns:
            must = must or "the clock went back"
        if since_ns is not None and now_ns - since_ns > self.scenario.max_plan_age_ns:
            must = must or "nothing was told for longer than a plan is good"
        if self._last_ns is not None and now_ns - self._last_ns > 1.5 * self.scenario.dt_ns:
            for motion in self.motion:
                motion.stood_still()
        self._last_ns = now_ns
        must = must or self.facts.trouble(now_ns)
        if self.plans.late_for(now_ns) >= 2:
            must = must or "no plan was young enough for a second tick"
        return must

    def _begin(self, t_ns: int) -> None:
        self.plans.begin(t_ns)
        self.facts.begin()
        self._cut_in_a_row, self._acted, self._acted_before = 0, False, False
        for motion in self.motion:
            motion.begin()

    def _stopped(self, command: Command, now_ns: int, must: str) -> None:
        self.fault = command.reason
        if command.action is not None:
            raise Broken("stop", "a stop with an action")
        if not command.reason:
            raise Broken("stop", "a stop without a reason")
        cut = self._cut_in_a_row >= self.scenario.safety["max_cut_in_a_row"]
        first = self._refused_first(self.plans.wanted(now_ns)) > 1 - 1e-4
        blind = not self.facts.heard_any and any(m.part.measured for m in self.motion)
        if not (must or cut or first or blind):
            raise Broken("stops for nothing", command.reason)

    def _refused_first(self, wanted: NDArray[np.float32] | None) -> float:
        """By how many times the first action of an episode is beyond what is allowed."""
        if self._acted or wanted is None:
            return 0.0
        places = (self.facts.place(motion.part) for motion in self.motion)
        pairs = zip(self.motion, places, strict=True)
        return max(motion.refused_first(wanted, place)[1] for motion, place in pairs)

    def _check_action(self, now_ns: int, command: Command) -> None:
        action = command.action
        if action is None:
            if command.kind == "act":
                raise Broken("command", "act without an action")
            return
        if self.facts.heard_any and not self.facts.fresh(now_ns):
            raise Broken("state age", "a command without a reading that can be believed")
        spec = self.scenario.spec
        if action.shape != (spec.action_dim,) or action.dtype != np.float32:
            raise Broken("command", f"{action.dtype} {action.shape}")
        if not np.isfinite(action).all():
            raise Broken("command", f"not finite: {action}")
        changed = command.wanted is not None and not np.array_equal(action, command.wanted)
        if command.kind == "act" and changed and not command.cut:
            raise Broken("cut", "changed and not said")
        self._cut_in_a_row = self._cut_in_a_row + 1 if command.kind == "act" and command.cut else 0
        if self._cut_in_a_row > self.scenario.safety["max_cut_in_a_row"]:
            raise Broken("cut", f"{self._cut_in_a_row} commands in a row were cut")
        if command.kind == "act" and self._refused_first(command.wanted) > 1 + 1e-4:
            raise Broken("first step", "sent, and it leads too far from where the robot is")
        for motion in self.motion:
            motion.check(action, command.kind == "hold", self.facts.place(motion.part))
        self._acted_before = self._acted
        self._acted |= command.kind == "act"
