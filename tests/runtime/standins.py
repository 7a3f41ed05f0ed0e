"""A spec, runners that compute something checkable, a robot and a camera on a fake clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.functions import Function, encode_and_act, prefix_of
from ofp_edge.manifest import TimeRow
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.events import Event, Order
from ofp_edge.runtime.control.planner import Planner
from ofp_edge.runtime.robot import Outcome, RobotState
from ofp_edge.spec import PolicySpec
from tests.synthetic import CAMERA, action_fields, points_field, state_field

MS = 1_000_000
DT = 50 * MS
FEATURE = 4
ROWS = (
    TimeRow("cold", 0.0, 1.0, (0.0, 1.0)),
    TimeRow("warm", 0.3, 1.0, (0.3, 0.7)),
    TimeRow("refine", 0.6, 1.0, (0.6, 0.4)),
)


def make_spec(
    *, horizon: int = 8, n_action_steps: int = 4, n_obs_steps: int = 1, points: bool = False
) -> PolicySpec:
    fields = (state_field(4), points_field()) if points else (state_field(4),)
    return PolicySpec(fields, action_fields(), n_obs_steps, horizon, n_action_steps, 20.0)


def make_chunk(spec: PolicySpec, t_obs_ns: int, value: float = 0.0) -> Chunk:
    """Action i is value + i / 100 in every dimension; the normalised plan is ten times that."""
    column = value + np.arange(spec.horizon, dtype=np.float32)[:, None] / 100
    actions = np.repeat(column, spec.action_dim, axis=1).astype(np.float32)
    return Chunk(t_obs_ns, spec.dt_ns, actions, 10 * actions)


class FunctionRunner:
    """A runner whose outputs are a numpy function of its inputs."""

    def __init__(
        self,
        inputs: dict[str, tuple[int, ...]],
        outputs: dict[str, tuple[int, ...]],
        function: Callable[[dict[str, NDArray[Any]], dict[str, NDArray[Any]]], None],
    ) -> None:
        self.inputs = {k: np.zeros(v, np.float32) for k, v in inputs.items()}
        self.outputs = {k: np.zeros(v, np.float32) for k, v in outputs.items()}
        self.function, self.calls = function, 0

    def warm_up(self, runs: int = 3) -> None:
        for _ in range(runs):
            self.function(self.inputs, self.outputs)

    def infer(self) -> None:
        self.calls += 1
        self.function(self.inputs, self.outputs)

    def close(self) -> None:
        pass


def make_runners(
    spec: PolicySpec, *, told: bool = False
) -> tuple[tuple[Function, ...], dict[str, FunctionRunner]]:
    """encode: the state's first four numbers, and ten times an instruction's. act:
    chunk_normalised = z + (r - t) * features[0], chunk = twice that. told: act takes a committed
    prefix too, which stands in the chunk."""
    size = spec.horizon * spec.action_dim

    def encode(inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> None:
        outputs["feature"][:] = inputs["state"][:, :FEATURE]
        for field in spec.observations:
            outputs["feature"] += 10 * inputs[field.name] if field.told else 0

    def act(inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> None:
        step = inputs["time_row"][0, -1] * inputs["features"][0, -FEATURE]
        outputs["chunk_normalised"][:] = inputs["z"] + step
        if told:
            np.copyto(outputs["chunk_normalised"], inputs["z"], where=inputs["free"] == 0)
        outputs["chunk"][:] = 2 * outputs["chunk_normalised"]

    fields = {
        f.name: (1, 3, 1, f.shape[1]) if f.kind == "points" else (1, *f.shape)
        for f in spec.observations
    }
    made = {
        "encode": FunctionRunner(fields, {"feature": (1, FEATURE)}, encode),
        "act": FunctionRunner(
            {
                "features": (1, spec.n_obs_steps * FEATURE),
                "z": (1, size),
                "time_row": (1, 2),
                **({x.name: x.shape for x in prefix_of(spec)} if told else {}),
            },
            {"chunk": (1, size), "chunk_normalised": (1, size)},
            act,
        ),
    }
    return encode_and_act(spec, FEATURE, 2, committed=told), made


class FakeClock:
    """Stands still until somebody sleeps or lets time pass."""

    def __init__(self, now_ns: int = 1_000 * MS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def sleep_until(self, t_ns: int) -> None:
        self.now_ns = max(self.now_ns, t_ns)


class PlannerClock:
    """The planner's time: it runs ahead of the loop's while an order is served, which is what a
    thread of its own does."""

    def __init__(self, base: FakeClock) -> None:
        self.base, self.serving, self._own = base, False, 0

    def __call__(self) -> int:
        return max(self.base(), self._own)

    @property
    def now_ns(self) -> int:
        return self()

    @now_ns.setter
    def now_ns(self, value: int) -> None:
        if self.serving:
            self._own = value
        else:
            self.base.now_ns = value


class FakePlanner(Planner):
    """Serves an order at once, in time of its own; its events are heard when they would have come.

    died: what its thread died of, from then on.
    """

    clock: PlannerClock

    def start(self) -> None:
        self._events = _Stamped(self.clock)  # type: ignore[assignment]

    def give(self, order: Order) -> None:
        self.clock.serving = True
        try:
            self.serve(order)
        except BaseException as failure:
            self._events.append(failure)
        finally:
            self.clock.serving = False

    def take(self) -> list[Event]:
        self._events.let(self.clock.base())  # type: ignore[attr-defined]
        return super().take()

    def rest(self, timeout_s: float) -> bool:
        self.clock.base.now_ns = self.clock()
        return True


class _Stamped(deque[Any]):
    """Holds back what is appended until its moment has come."""

    def __init__(self, clock: PlannerClock) -> None:
        super().__init__()
        self.clock, self.held = clock, list[tuple[int, Any]]()

    def append(self, event: Any) -> None:
        self.held.append((self.clock(), event))

    def let(self, now_ns: int) -> None:
        self.extend(event for t, event in self.held if t <= now_ns)
        self.held = [(t, event) for t, event in self.held if t > now_ns]


class FakeRobot:
    """Remembers what it was told, and when."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.sent: list[tuple[int, NDArray[np.float32]]] = []
        self.stops = 0
        self.closed = False

    def state(self) -> RobotState:
        return RobotState(self.clock(), {"state": np.full(4, 0.1, np.float32)})

    def send(self, action: NDArray[np.float32]) -> None:
        self.sent.append((self.clock(), action.copy()))

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None:
        self.closed = True


class FakeEpisodicRobot(FakeRobot):
    """An episode succeeds after `steps` actions."""

    def __init__(self, clock: FakeClock, steps: int = 6) -> None:
        super().__init__(clock)
        self.steps, self.seeds, self.count = steps, list[int](), 0

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)
        self.count = 0

    def send(self, action: NDArray[np.float32]) -> None:
        super().send(action)
        self.count += 1

    def outcome(self) -> Outcome:
        return Outcome(self.count >= self.steps, False)


class FakeCamera:
    """A new frame at every look, `age_ms` old; `frozen` stops that."""

    def __init__(self, clock: FakeClock | PlannerClock, age_ms: float = 10.0) -> None:
        self.clock, self.age_ms, self.sequence, self.frozen = clock, age_ms, 0, False
        self.parameters: CameraParameters = CAMERA
        self._last = -1

    def start(self) -> None:
        pass

    def read(self, timeout_ms: float) -> Frame | None:
        t_capture_ns = self.clock() - round(self.age_ms * MS)
        if self.frozen or t_capture_ns <= self._last:
            self.clock.now_ns += round(timeout_ms * MS)
            return None
        self._last = t_capture_ns
        self.sequence += 1
        depth = np.full((CAMERA.height, CAMERA.width), 900, np.uint16)
        return Frame(depth, None, t_capture_ns, self.sequence)

    def close(self) -> None:
        pass
