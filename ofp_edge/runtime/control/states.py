"""The robot's latest states, by the time at which each was true."""

from __future__ import annotations

from collections import deque

from ofp_edge.runtime.robot import RobotState


class StateHistory:
    """The last 64 states. One thread adds, another looks: a deque's operations are atomic.

    max_apart_ns: a state further from a moment than that is not used for it; None: no limit.
    """

    def __init__(self, max_apart_ns: int | None = None) -> None:
        self.max_apart_ns = max_apart_ns
        self._states: deque[RobotState] = deque(maxlen=64)

    def add(self, state: RobotState) -> None:
        """Add the newest state."""
        self._states.append(state)

    def nearest(self, t_ns: int) -> RobotState | None:
        """Return the state that was true nearest to `t_ns`, or None when it is too far off. Raises
        LookupError when there is none at all."""
        states = list(self._states)
        if not states:
            raise LookupError("the robot has said nothing yet")
        found = min(states, key=lambda state: abs(state.t_ns - t_ns))
        near = self.max_apart_ns is None or abs(found.t_ns - t_ns) <= self.max_apart_ns
        return found if near else None
