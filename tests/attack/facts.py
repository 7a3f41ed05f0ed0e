"""Which of a robot's readings may be believed, and how old they are: reckoned from the promises."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.robot import RobotState
from tests.attack.scenario import Part, Scenario

Array = NDArray[np.float64]


class Facts:
    """The newest reading that can be true: whole, stamped in time, and not further from the one
    before than the robot's stated physical speed goes. Without a stated speed any place can be."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.newest: RobotState | None = None
        self.must_stop = ""
        self._heard: RobotState | None = None
        self._at_ns = 0
        self._agree = self._leaps = self._agreed_ns = 0

    def begin(self) -> None:
        """A new episode: somebody may have put the robot elsewhere."""
        self._agree = self._leaps = 0

    def hear(self, state: RobotState, at_ns: int) -> None:
        """A reading, and when it was taken: at the tick's time, or later by the loop's clock."""
        self._heard, self._at_ns = state, at_ns
        if not self._whole(state):
            self.must_stop = "the robot's state has no such form"
        elif not self._in_time(state.t_ns, at_ns):
            self.must_stop = "the robot's state is of another time"
        elif self._leap(state):
            self._leaps += 1
            if self._agree < 2:
                self.must_stop = "the first two readings contradict each other"
            if self._leaps > self.scenario.safety.get("max_bridged_ticks", 2):
                self.must_stop = "the robot can't have moved so"
        else:
            self._leaps = 0
            self._agree += self._agree == 0 or state.t_ns != self._agreed_ns
            self.newest, self._agreed_ns = state, state.t_ns

    def trouble(self, now_ns: int) -> str:
        """Why the robot has to be stopped at this tick."""
        if self.must_stop or self._heard is None:
            return self.must_stop
        if not self._in_time(self._heard.t_ns, max(now_ns, self._at_ns)):
            return "the robot's newest word is too old"
        if not self.fresh(now_ns):
            return "the newest word that can be believed is too old"
        return "the robot is outside of its workspace" if self._outside() else ""

    def fresh(self, now_ns: int) -> bool:
        """Whether there is a reading that a command of this tick may be computed from."""
        at_ns = max(now_ns, self._at_ns)
        return self.newest is not None and self._in_time(self.newest.t_ns, at_ns)

    @property
    def heard_any(self) -> bool:
        """Whether the robot has said anything, true or not."""
        return self._heard is not None

    def place(self, part: Part) -> Array | None:
        """Where a part is, in its unit; None where the rig does not say where that is read."""
        if self.newest is None or not part.measured:
            return None
        name, first = part.limits["measured"], part.limits["measured_offset"]
        return self.newest.values[name][first : first + part.size].astype(np.float64)

    def _outside(self) -> bool:
        box = self.scenario.safety.get("workspace")
        if box is None or self.newest is None:
            return False
        at = self.newest.values[box["measured"]].astype(np.float64)
        return bool((at < box["low"]).any() or (at > box["high"]).any())

    def _in_time(self, t_ns: int, now_ns: int) -> bool:
        return -self.scenario.dt_ns <= now_ns - t_ns <= self.scenario.max_state_age_ns

    def _whole(self, state: RobotState) -> bool:
        """Numbers everywhere, and as many as the rig goes by."""
        needed = [
            (p.limits["measured"], p.limits["measured_offset"] + p.size)
            for p in self.scenario.parts
            if p.measured
        ]
        if "workspace" in self.scenario.safety:
            needed.append((self.scenario.safety["workspace"]["measured"], 3))
        if any(len(state.values.get(name, ())) < least for name, least in needed):
            return False
        return all(np.isfinite(values).all() for values in state.values.values())

    def _leap(self, state: RobotState) -> bool:
        """Whether it would have had to move faster than it can."""
        if self.newest is None or not self._agree:
            return False
        seconds = max(abs(state.t_ns - self.newest.t_ns), self.scenario.dt_ns) / 1e9
        for part in self.scenario.parts:
            speed = part.limits.get("physical_speed")
            if speed is None or not part.measured:
                continue
            name, first = part.limits["measured"], part.limits["measured_offset"]
            new, old = (x.values[name][first : first + part.size] for x in (state, self.newest))
            if part.length(new.astype(np.float64) - old) > speed * seconds * (1 + 1e-5):
                return True
        box = self.scenario.safety.get("workspace", {})
        if "physical_speed" not in box:
            return False
        new, old = (x.values[box["measured"]].astype(np.float64) for x in (state, self.newest))
        return bool(np.linalg.norm(new - old) > box["physical_speed"] * seconds * (1 + 1e-5))
