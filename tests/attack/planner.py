"""A planner that answers the state machine's orders late, wrongly, twice or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.events import ChunkReady, Event, Order, PlannerFree, PlanStarted
from tests.attack.scenario import Scenario
from tests.attack.schedule import Trouble


class RoughPlanner:
    """Orders in, events out. A schedule's time is the only time there is."""

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self.scenario, self._rng = scenario, rng
        self._coming: list[tuple[int, Event]] = []
        self._policy = RoughPolicy(scenario, rng)
        self._mean_think = float(rng.choice([0.2, 0.6, 1.5]))

    def give(self, order: Order, now_ns: int, around: NDArray[np.float32], troubles: Any) -> None:
        """An order of the tick `now_ns`. around: a raw action that moves nothing."""
        if "dead_planner" in troubles:
            return
        dt_ns = self.scenario.dt_ns
        ready_ns = now_ns + 1 + int(self._rng.exponential(self._mean_think) * dt_ns)
        if (late := troubles.get("late")) is not None:
            ready_ns += int(20 * late.value * dt_ns)
        t_obs = now_ns - int(self._rng.random() * dt_ns)
        if (future := troubles.get("future_frame")) is not None:
            t_obs = now_ns + int((0.2 + 20 * future.value) * dt_ns)
        if (old := troubles.get("old_frame")) is not None:
            t_obs = now_ns - int(30 * old.value * dt_ns)
        if order.plan:
            self._coming.append((now_ns + 1, PlanStarted(order.tick_ns, t_obs)))
            for event in self._answers(t_obs, around, troubles):
                self._coming.append((ready_ns, event))
        self._coming.append((ready_ns, PlannerFree()))

    def take(self, now_ns: int) -> list[Event]:
        """What has come by now."""
        ready = [event for t, event in self._coming if t <= now_ns]
        self._coming = [(t, event) for t, event in self._coming if t > now_ns]
        return ready

    def _answers(
        self, t_obs: int, around: NDArray[np.float32], troubles: dict[str, Trouble]
    ) -> list[Event]:
        if "lost" in troubles:
            return []
        actions = self._policy.actions(around, troubles)
        dt_ns = self.scenario.dt_ns
        normalised = np.zeros((self.scenario.spec.horizon, self.scenario.spec.action_dim))
        chunk = Chunk(t_obs, dt_ns, actions, normalised.astype(np.float32))
        answers: list[Event] = [ChunkReady(chunk)]
        if "twice" in troubles:
            answers.append(ChunkReady(chunk))
        if "unasked" in troubles:
            answers.append(ChunkReady(Chunk(t_obs - 7, dt_ns, actions, chunk.normalised)))
        return answers


class RoughPolicy:
    """Chunks of a scenario's policy: smooth from where the robot is, or anything at all."""

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self.scenario, self._rng = scenario, rng
        self._wanted: NDArray[np.float64] | None = None

    def actions(
        self, around: NDArray[np.float32], troubles: Mapping[str, Trouble]
    ) -> NDArray[np.float32]:
        """(plan_steps, action_dim); around: a raw action that moves nothing."""
        spec, rng = self.scenario.spec, self._rng
        low = np.concatenate([np.asarray(f.low, float) for f in spec.actions])
        high = np.concatenate([np.asarray(f.high, float) for f in spec.actions])
        steps = spec.plan_steps
        if self.scenario.smooth:
            if self._wanted is None or rng.random() < 0.3:
                self._wanted = rng.uniform(low, high) * rng.choice([0.2, 0.7, 1.0])
            share = np.linspace(0, rng.choice([0.1, 0.5, 1.0]), steps)[:, None]
            actions = (1 - share) * around + share * self._wanted
        else:
            actions = rng.uniform(low, high, (steps, len(low)))
        if "jump_chunk" in troubles:
            actions[:] = rng.uniform(low, high)
        if (beyond := troubles.get("beyond_range")) is not None:
            actions = actions * (1 + 5 * beyond.value)
        made: NDArray[np.float32] = actions.astype(np.float32)
        for kind, spoil in _SPOILS.items():
            if kind in troubles:
                made = spoil(made, troubles[kind])
        return made


def _with(value: float) -> Callable[[Any, Trouble], Any]:
    def spoil(actions: NDArray[np.float32], trouble: Trouble) -> NDArray[np.float32]:
        spoiled = actions.copy()
        spoiled.reshape(-1)[trouble.which % spoiled.size :: 3] = value
        return spoiled

    return spoil


_SPOILS: dict[str, Callable[[Any, Trouble], Any]] = {
    "nan_chunk": _with(np.nan),
    "inf_chunk": _with(np.inf),
    "huge_chunk": lambda actions, trouble: _with(3e38 if trouble.which % 2 else 9e29)(
        actions, trouble
    ),
    "few_rows": lambda actions, trouble: actions[: 1 + trouble.which % 3],
    "wide": lambda actions, trouble: np.repeat(actions, 2, axis=1),
    "flat": lambda actions, trouble: actions.reshape(-1),
    "no_rows": lambda actions, trouble: actions[:0],
}
