"""A robot that does what it is told as well as a real one: the truth behind the readings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.robot import RobotState
from tests.attack.scenario import Scenario
from tests.attack.schedule import READINGS, Trouble

Array = NDArray[np.float64]
FOREVER_NS = 1_700_000_000 * 10**9


class World:
    """Every part's position, in its unit; `tip` is where the workspace is measured."""

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self.scenario, self._rng = scenario, rng
        self.places = {p.name: rng.uniform(-0.3, 0.3, p.size) * p.reach for p in scenario.parts}
        self._told: Array | None = None
        self._frozen: dict[str, NDArray[np.float32]] | None = None
        self._last: RobotState | None = None

    @property
    def tip(self) -> Array:
        first = self.scenario.parts[0]
        return self.places[first.name][:1].repeat(3) * 0.3 / first.reach

    def obey(self, action: NDArray[np.float32] | None, troubles: dict[str, Trouble]) -> None:
        """One period passes. action: what was sent in it, or None: the last one goes on."""
        if action is not None and "blocked" not in troubles:
            self._told = action.astype(np.float64)
        dt = 1 / self.scenario.spec.control_hz
        for part in self.scenario.parts:
            place, most = self.places[part.name], 0.98 * part.physical_speed * dt
            move = np.zeros(part.size)
            if self._told is not None:
                told = self._told[part.columns] * part.action.scale
                kind = part.action.kind
                move = {"absolute": 0.8 * (told - place), "velocity": told * dt, "delta": told}[
                    kind
                ]
            if "stuck" in troubles:
                move = np.zeros(part.size)
            if (pushed := troubles.get("pushed")) is not None:
                move = move + (pushed.value - 0.5) * most
            size = float(np.linalg.norm(move))
            move = move if size <= most else move * (most / size)
            self.places[part.name] = place + move
        if self._told is not None:  # a delta is made once
            for part in self.scenario.parts:
                if part.action.kind == "delta":
                    self._told[part.columns] = 0.0

    def staying(self) -> NDArray[np.float32]:
        """(action_dim,) the raw action that leaves the robot where it is."""
        raw = [
            self.places[p.name] / p.action.scale
            if p.action.kind == "absolute"
            else 0 * self.places[p.name]
            for p in self.scenario.parts
        ]
        return np.concatenate(raw).astype(np.float32)

    def true_values(self) -> dict[str, NDArray[np.float32]]:
        """What an honest robot says."""
        state = np.zeros(self.scenario.spec.observations[0].shape, np.float32)
        for part in self.scenario.parts:
            first = part.state[1]
            state[first : first + part.size] = self.places[part.name]
        return {"state": state, "tip": self.tip.astype(np.float32)}

    def reading(self, now_ns: int, troubles: dict[str, Trouble]) -> RobotState | None:
        """What it says at the tick `now_ns`, or None: it says nothing at all."""
        dt_ns = self.scenario.dt_ns
        stamp = now_ns - int(self._rng.integers(0, dt_ns // 2))
        values = self.true_values()
        if "freeze_values" in troubles and self._frozen is not None:
            values = {k: v.copy() for k, v in self._frozen.items()}
        self._frozen = {k: v.copy() for k, v in values.items()}
        if "silent" in troubles and self._last is not None:
            return self._last
        for kind in READINGS:  # in this order: what is taken away is taken away last
            if kind in troubles:
                stamp = self._stamped(kind, troubles[kind], stamp, now_ns)
                values = self._spoiled(kind, troubles[kind], values)
        if "no_reading" in troubles:
            return None
        self._last = RobotState(stamp, values)
        return self._last

    def _stamped(self, kind: str, trouble: Trouble, stamp: int, now_ns: int) -> int:
        dt_ns, bad = self.scenario.dt_ns, trouble.value
        if kind == "future_stamp":
            far = (0.5 + 3 * bad) * dt_ns if trouble.which % 2 else 1e9 * (1 + 100 * bad)
            return now_ns + int(far)
        if kind == "past_stamp":
            return now_ns - int(20 * bad * dt_ns)
        if kind == "unix_stamp":
            return FOREVER_NS + stamp
        return stamp // 10**6 if kind == "stamp_in_ms" else stamp

    def _spoiled(
        self, kind: str, trouble: Trouble, values: dict[str, Any]
    ) -> dict[str, NDArray[np.float32]]:
        part = self.scenario.parts[trouble.which % len(self.scenario.parts)]
        at = part.state[1] + trouble.which % part.size
        if kind in ("glitch", "jump"):  # a metre, or as much: more than it can go in a period
            values["state"][at] += (1 if trouble.which % 2 else -1) * (0.6 + trouble.value)
        elif kind in ("nan", "inf"):
            values["state"][at] = np.nan if kind == "nan" else np.inf
        elif kind == "short_state":
            values["state"] = values["state"][:-1] if trouble.which % 2 else values["state"][:0]
        elif kind == "absent_state":
            del values["state"]
        elif kind == "outside":
            values["tip"] = values["tip"] + np.float32(2.0)
        return values
