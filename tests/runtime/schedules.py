"""Random schedules of the whole loop, and a checker that knows the promises but not the code.

A schedule is drawn from a seed: frames that come late, twice, in the wrong order or not at all, a
camera whose clock jumps or that is lost, slow inferences, a thread that is woken late.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import CameraError
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import Command
from ofp_edge.runtime.control.loop import ControlLoop, Limits
from ofp_edge.runtime.control.planner import Planner
from ofp_edge.runtime.control.refining import RefineBudget
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.sampler import shipped_scheme
from ofp_edge.runtime.observer import Observer
from ofp_edge.spec import PolicySpec
from tests.runtime.standins import (
    ROWS,
    FakeClock,
    FakePlanner,
    FakeRobot,
    PlannerClock,
    make_runners,
)
from tests.synthetic import CAMERA, action_fields, points_field, state_field

HORIZON, N_ACTION_STEPS, LATENCY_STEPS, LIMIT_STEPS, MAX_AGE_STEPS = 8, 3, 2, 7, 2.0
DEPTH = np.full((CAMERA.height, CAMERA.width), 900, np.uint16)


def spec_at(control_hz: float) -> PolicySpec:
    fields = (state_field(4), points_field())
    return PolicySpec(fields, action_fields(), 1, HORIZON, N_ACTION_STEPS, control_hz)


@dataclass
class Trouble:
    """How bad a schedule is, drawn from its seed; shares of frames, of periods, of ticks."""

    rng: np.random.Generator
    dt_ns: int

    def __post_init__(self) -> None:
        calm = self.rng.random() < 0.2
        self.calm = calm
        self.lost, self.twice, self.mixed = [0.0] * 3 if calm else self.rng.random(3) * 0.3
        self.delay = 0.1 if calm else self.rng.choice([0.2, 0.6, 2.0])
        self.think = 0.3 if calm else self.rng.choice([0.3, 1.0, 2.5])
        self.jump_at = None if calm or self.rng.random() < 0.7 else int(self.rng.integers(10, 80))
        self.gone_at = None if calm or self.rng.random() < 0.6 else int(self.rng.integers(10, 80))
        self.starved = 0.0 if calm else float(self.rng.choice([0.0, 0.05]))

    def steps(self, mean: float) -> int:
        """Nanoseconds, exponential, of a mean in periods."""
        return int(self.rng.exponential(mean) * self.dt_ns)


class RoughCamera:
    """Hands frames over as they arrive, however wrong: the loop has to sort them out."""

    parameters = CAMERA

    def __init__(self, trouble: Trouble, clock: Any, began_ns: int, frames: int) -> None:
        self.clock, self._next = clock, 0
        rng, dt = trouble.rng, trouble.dt_ns
        arrivals, ahead = [], 0
        for k in range(frames):
            seen = began_ns + int((k * 0.7 + 0.05 * rng.random()) * dt)
            if trouble.gone_at is not None and k >= trouble.gone_at:
                break
            if rng.random() < trouble.lost:
                continue
            if trouble.jump_at is not None and k == trouble.jump_at:
                ahead = int(rng.choice([-3, 3]) * dt)  # the camera's own clock, from now on
            arrivals.append((seen + trouble.steps(trouble.delay) + dt // 50, seen + ahead))
            if rng.random() < trouble.twice:
                arrivals.append((arrivals[-1][0] + dt // 4, seen + ahead))
            if rng.random() < trouble.mixed:
                arrivals.append((seen + 2 * dt, seen + ahead - dt // 2))
        self._arrivals = sorted(arrivals)

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def read(self, timeout_ms: float) -> Frame | None:
        newest = None
        until = self.clock() + round(timeout_ms * 1e6)
        while True:
            while (
                self._next < len(self._arrivals) and self._arrivals[self._next][0] <= self.clock()
            ):
                newest = self._arrivals[self._next]
                self._next += 1
            if newest is not None:
                return Frame(DEPTH, None, newest[1], self._next)
            coming = self._arrivals[self._next][0] if self._next < len(self._arrivals) else until
            if self.clock() >= until:
                return None
            self._wait(min(coming, until))

    def _wait(self, t_ns: int) -> None:
        if isinstance(self.clock, PlannerClock):
            self.clock.now_ns = t_ns
        else:
            time.sleep(max(0.0, (t_ns - self.clock()) / 1e9))


class Memory:
    """A Telemetry that keeps every row, with the moment of the last look at the cameras."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock, self.looked_ns = clock, 0
        self.rows: list[tuple[int, str, dict[str, Any]]] = []

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        self.rows.append((self.looked_ns, topic, values))

    def clock(self) -> int:
        """The clock that the observer reads."""
        self.looked_ns = self._clock()
        return self.looked_ns

    def close(self) -> None:
        pass

    def of(self, topic: str) -> list[tuple[int, dict[str, Any]]]:
        return [(t, row) for t, name, row in self.rows if name == topic]


@dataclass
class Parts:
    """What a mutant changes."""

    controller: type[Controller] = Controller
    observer: type[Observer] = Observer
    loop: type[ControlLoop] = ControlLoop
    planner: type[FakePlanner] = FakePlanner


@dataclass
class Ran:
    """One schedule after it ran."""

    spec: PolicySpec
    memory: Memory
    robot: FakeRobot
    loop: ControlLoop
    commands: list[Command] = field(default_factory=list)


def run_schedule(seed: int, parts: Parts | None = None, steps: int = 60) -> Ran:
    """On a fake clock: the planner thinks in a time of its own."""
    parts = parts or Parts()
    spec = spec_at(20.0)
    trouble = Trouble(np.random.default_rng(seed), spec.dt_ns)
    clock = FakeClock()
    own = PlannerClock(clock)
    camera = RoughCamera(trouble, own, clock(), round(steps * 1.6))

    def think() -> None:
        own.now_ns += trouble.steps(trouble.think)

    def sleep_until(t_ns: int) -> None:
        late = trouble.steps(0.02)
        if trouble.rng.random() < trouble.starved:
            late = trouble.steps(1.0)
        clock.now_ns = max(clock.now_ns, t_ns) + late

    return _run(spec, trouble, camera, FakeRobot(clock), clock, own, think, parts, steps,
                sleep_until)  # fmt: skip


def run_on_threads(seed: int, steps: int = 30) -> Ran:
    """On the real clock and the real planner, at 200 Hz."""
    spec = spec_at(200.0)
    trouble = Trouble(np.random.default_rng(seed), spec.dt_ns)
    began = time.monotonic_ns()
    camera = RoughCamera(trouble, time.monotonic_ns, began, round(steps * 1.6))
    robot = FakeRobot(time.monotonic_ns)  # type: ignore[arg-type]

    def think() -> None:
        time.sleep(trouble.steps(trouble.think) / 1e9)

    return _run(spec, trouble, camera, robot, time.monotonic_ns, None, think, Parts(), steps, None)


def _run(
    spec: PolicySpec, trouble: Trouble, camera: RoughCamera, robot: FakeRobot, clock: Any,
    own: PlannerClock | None, think: Callable[[], None], parts: Parts, steps: int,
    sleep_until: Callable[[int], None] | None,
) -> Ran:  # fmt: skip
    dt = spec.dt_ns
    functions, runners = make_runners(spec)
    auto = trouble.rng.random() < 0.5
    inference = Inference(
        spec, functions, runners, ROWS, 0, scheme=shipped_scheme(ROWS, "auto" if auto else 1)
    )
    act = runners["act"]
    answer = act.function

    def slow(*buffers: Any) -> None:
        think()
        answer(*buffers)

    act.function = slow
    memory = Memory(own or clock)
    observer = parts.observer(
        spec, {"front": camera}, {"front": CAMERA}, CameraTolerance(),
        {"front": round(MAX_AGE_STEPS * dt)},
    )  # fmt: skip
    controller = parts.controller(
        spec, LATENCY_STEPS * dt, LIMIT_STEPS * dt,
        refine=RefineBudget(round(trouble.think * dt)) if auto else None,
    )  # fmt: skip
    look = observer.poll
    observer.poll = lambda clock, *rest, **options: look(  # type: ignore[method-assign]
        memory.clock, *rest, **options
    )
    planner = Planner(inference, observer, memory)
    if own is not None:
        planner = parts.planner(inference, observer, memory, own)
    loop = parts.loop(
        inference, controller, observer, robot, planner=planner, telemetry=memory, clock=clock,
        sleep_until=sleep_until,
    )  # fmt: skip
    ran = Ran(spec, memory, robot, loop)
    loop.on_tick = lambda report, command: ran.commands.append(command)
    try:
        with mock.patch("ofp_edge.runtime.control.loop.quiet_interpreter", contextlib.nullcontext):
            loop.run(Limits(duration_s=steps * dt / 1e9))
    except CameraError as error:
        assert "no fresh frame" in str(error) and not robot.sent
    return ran


def check_promises(ran: Ran) -> None:
    """Every promise of the loop, from its rows and from what the robot was told."""
    dt = ran.spec.dt_ns
    latency, limit = LATENCY_STEPS * dt, LIMIT_STEPS * dt
    seen_at = {row["t_obs_ns"]: at for at, row in ran.memory.of("/observation")}
    plans = {(row["t_obs_ns"], row["refined"]): row for _, row in ran.memory.of("/plan")}
    for t_obs, at in seen_at.items():
        assert t_obs <= at, "a frame from the future was used"
    for row in plans.values():
        looked = seen_at[row["t_obs_ns"]]
        assert looked - row["t_obs_ns"] <= MAX_AGE_STEPS * dt, "a stale frame was planned from"
    assert list(seen_at) == sorted(seen_at), "a frame older than one used before"
    heard: dict[int, bool] = {}  # observation -> refined
    newest_followed, stopped, over_age, last_tick = None, False, 0, None
    refined_followed: dict[int, bool] = {}
    nearest = np.array([False, False, False, True])
    for _, row in ran.memory.of("/command"):
        tick = row["tick_ns"]
        assert last_tick is None or (tick - last_tick) % dt == 0 < tick - last_tick
        last_tick = tick
        due_before = max((t for t in heard if t + latency <= tick), default=None)
        for event in row["heard"]:
            if event["event"] == "chunk":
                plan = plans[event["t_obs_ns"], event["refined"]]
                assert plan["ready_ns"] <= row["sent_ns"], "heard before it was there"
                heard.setdefault(event["t_obs_ns"], False)
                if event["refined"]:
                    heard[event["t_obs_ns"]] = True
            if event["event"] == "episode" and newest_followed is None:
                newest_followed = event["t_ns"]
        if row["sent"]:
            assert tick <= row["sent_ns"] < tick + dt, "sent outside its slot"
        assert not stopped or row["kind"] == "stop", "a stop is latched"
        stopped = row["kind"] == "stop"
        if row["kind"] == "act":
            t_obs = row["t_obs_ns"]
            assert tick - t_obs >= latency, "an action before t_obs + L"
            assert tick - t_obs <= limit, "an action of a plan past its age"
            due = [t for t in heard if t + latency <= tick and tick - t <= limit]
            assert t_obs == max(due), "not the newest plan that is due"
            assert row["index"] == (tick - t_obs) / dt, "the wrong index"
            first = t_obs != newest_followed or due_before is None
            if first and t_obs not in refined_followed:
                refined_followed[t_obs] = heard[t_obs]
            _check_action(row, plans[t_obs, refined_followed[t_obs]], nearest)
            newest_followed, over_age = t_obs, 0
        elif row["kind"] == "hold" and newest_followed is not None:
            over_age += tick - newest_followed > limit
            assert over_age <= 1, "held for more than a period past the limit"
    sends = [t for t, _ in ran.robot.sent]
    assert len(sends) == sum(row["sent"] for _, row in ran.memory.of("/command"))
    assert ran.robot.stops >= 1, "the robot is stopped at the end"
    counters = ran.loop.controller.counters
    assert counters.acted <= counters.ticks


def _check_action(row: dict[str, Any], plan: dict[str, Any], nearest: np.ndarray) -> None:
    """The chunk interpolated at the row's index, reckoned here once more."""
    chunk = np.asarray(plan["chunk"])
    low = min(int(row["index"]), len(chunk) - 1)
    high = min(low + 1, len(chunk) - 1)
    part = row["index"] - int(row["index"]) if low < high else 0.0
    wanted = np.where(
        nearest, chunk[high if part >= 0.5 else low],
        (1 - part) * chunk[low] + part * chunk[high],
    )  # fmt: skip
    apart = np.abs(row["action"] - np.clip(wanted, -1, 1)).max()
    assert apart < 1e-5, "not the plan's action at its index"
