"""Which plan may be followed at a tick, and what it says: reckoned again from what was heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.events import Command, PlanStarted
from tests.attack.broken import Broken
from tests.attack.scenario import Scenario

NO_ACTION = 1e30  # docs/safety.md


class HeardPlans:
    """The plans of one episode."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        spec = scenario.spec
        self._nearest = np.concatenate(
            [np.full(f.shape[0], f.interpolation == "nearest") for f in spec.actions]
        )
        self._low = np.concatenate([np.float32(f.low) for f in spec.actions])
        self._high = np.concatenate([np.float32(f.high) for f in spec.actions])
        self._began: int | None = None
        self._clear()

    def _clear(self) -> None:
        self._announced: set[int] = set()
        self._chunks: dict[int, Chunk] = {}
        self._followed: int | None = None
        self._over = 0

    def begin(self, t_ns: int) -> None:
        """A new episode: what came before is over."""
        self._clear()
        self._began = t_ns

    def announced(self, event: PlanStarted, now_ns: int) -> None:
        """A plan is being made; one of an observation from the future is none. A tick's time is
        when it was due: what a late one hears may be a period younger."""
        if event.t_obs_ns <= max(now_ns, event.t_ns) + self.scenario.dt_ns:
            self._announced.add(event.t_obs_ns)

    def heard(self, chunk: Chunk) -> None:
        """An answer; what is no plan of this policy counts for nothing."""
        spec = self.scenario.spec
        actions = chunk.actions
        good = actions.ndim == 2 and actions.shape[1] == spec.action_dim and len(actions) > 0
        good = good and len(actions) * chunk.dt_ns >= self.scenario.max_plan_age_ns
        if good and (np.abs(actions) < NO_ACTION).all() and chunk.t_obs_ns in self._announced:
            self._chunks.setdefault(chunk.t_obs_ns, chunk)

    def late_for(self, now_ns: int) -> int:
        """So many ticks in a row, this one too, there was no plan that might be followed."""
        if self._began is None:
            self._began = now_ns
        since = self._began if self._followed is None else self._followed
        self._over = 0 if self._due(now_ns) or now_ns - since <= self._limit else self._over + 1
        return self._over

    def check(self, now_ns: int, command: Command) -> None:
        """That an action is the newest plan's that may be followed, at its index."""
        due = self._due(now_ns)
        if command.kind == "hold":
            if due and max(due) > (self._followed or 0):
                raise Broken("plan", f"held though the plan of {max(due)} is due")
            return
        t_obs = command.t_obs_ns
        if t_obs is None or command.index is None or command.wanted is None:
            raise Broken("plan", "act without saying of which plan")
        age = now_ns - t_obs
        if age > self._limit:
            raise Broken("plan age", f"{age / 1e6:g} ms, limit {self._limit / 1e6:g}")
        if age < self.scenario.latency_ns:
            raise Broken("plan", f"followed {age / 1e6:g} ms after its frame, before L")
        if t_obs not in self._chunks:
            raise Broken("plan", f"followed a plan of {t_obs} that is none")
        if t_obs != max(due):
            raise Broken("plan", f"followed the plan of {t_obs}, {max(due)} is newer and due")
        if command.index != age / self.scenario.dt_ns:
            raise Broken("plan", f"index {command.index}, not {age / self.scenario.dt_ns}")
        faded = self.scenario.timing.get("cross_fade_steps") != 0 and self._followed is not None
        if not faded:
            apart = np.abs(command.wanted - self._says(self._chunks[t_obs], now_ns)).max()
            if apart > 1e-5 * (1 + np.abs(command.wanted).max()):
                raise Broken("plan", f"not the plan's action at its index, off by {apart:g}")
        self._followed = t_obs

    def wanted(self, now_ns: int) -> NDArray[np.float32] | None:
        """What the first action of an episode would be at this tick, if there is one."""
        if not (due := self._due(now_ns)):
            return None
        return self._says(self._chunks[max(due)], now_ns).astype(np.float32)

    @property
    def _limit(self) -> int:
        return self.scenario.max_plan_age_ns

    def _due(self, now_ns: int) -> list[int]:
        latency = self.scenario.latency_ns
        return [t for t in self._chunks if latency <= now_ns - t <= self._limit]

    def _says(self, chunk: Chunk, now_ns: int) -> NDArray[np.float64]:
        index = (now_ns - chunk.t_obs_ns) / chunk.dt_ns
        last = len(chunk.actions) - 1
        low, high = min(int(index), last), min(int(index) + 1, last)
        share = index - int(index) if low < high else 0.0
        a, b = (chunk.actions[i].astype(np.float64) for i in (low, high))
        mixed = np.where(self._nearest, b if share >= 0.5 else a, (1 - share) * a + share * b)
        return np.clip(mixed, self._low, self._high)
