"""Closed-loop episodes in simulation: the robot's own path on a simulated clock.

SimulatedCamera -> RealSense SDK -> Planner (look, prepare, encode, think) -> Controller ->
SimulatedRobot, with the same Planner and Controller that `run` uses, and the same constant latency
L. An episode depends on its seed alone: not on the worker that runs it, what ran before, or what
runs beside it. Thinking takes no simulated time.

    with a rig   state, step, look and think as the step orders, send; its plan is heard next tick
    without      state, look and think if a plan is due, step, send: its plan is heard at once

With a rig the commands are those of `run` where every tick begins on time, what is seen is of that
moment, and every plan is ready before the next tick. Without one only the range limits an action,
and at L = 0 what is seen at a tick acts at that tick.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError, RigError
from ofp_edge.evaluate.asked import asked_of
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import Contestant, open_contestant
from ofp_edge.evaluate.seeds import OTHER_EPISODE
from ofp_edge.evaluate.smoothness import flips, half_ranges, jerk, jump
from ofp_edge.fields.text import instructions_of, told
from ofp_edge.rig.file import Rig
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import ChunkReady, EpisodeStarted, Event, Order, StateRead
from ofp_edge.runtime.control.planner import Planner
from ofp_edge.runtime.log.telemetry import NoTelemetry
from ofp_edge.runtime.observer import Observer
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.run_files import make_controller
from ofp_edge.spec import PolicySpec

Frames = Literal["own", "other"]
Words = Literal["own", "other"]


@dataclass(frozen=True)
class Job:
    """The task of every worker. latency_ms: L. frames: the episode's own, or another one's;
    words: what the episode asks for, or another instruction of the policy's. instruction: what
    every episode asks for, of the policy's list; None: the world says it.
    fade_steps: control steps over which one plan fades into the next, without a rig. rig: whose
    limits and hand-over hold, at this L. refine_first_ns: what an evaluation takes at its slowest,
    by which there is time for a refining one; one figure for all workers. robot_delay_ms: how long
    after its command the simulated robot moves."""

    path: Path
    task: str
    choice: Choice = Choice()
    latency_ms: float = 0.0
    frames: Frames = "own"
    words: Words = "own"
    instruction: str | None = None
    fade_steps: int = 0
    rig: Rig | None = None
    refine_first_ns: int = 0
    robot_delay_ms: float = 0.0

    def at_latency(self) -> Rig | None:
        """Return the rig with this job's L; an episode's first plan is no earlier."""
        if self.rig is None:
            return None
        cold = self.rig.timing.cold_latency_ms
        cold = None if cold is None else max(cold, self.latency_ms)
        timing = replace(self.rig.timing, latency_ms=self.latency_ms, cold_latency_ms=cold)
        return replace(self.rig, timing=timing)

    def fades(self, spec: PolicySpec, *, committed: bool) -> int:
        """Return over how many control steps one plan fades into the next. committed: whether plans
        are told what is."""
        rig = self.at_latency()
        if rig is None:
            return self.fade_steps
        return rig.timing.fade_steps(spec, committed=committed)

    def controller(self, spec: PolicySpec, *, committed: bool = False) -> Controller:
        """Build an episode's state machine. Raises RigError where no schedule meets its times."""
        rig = self.at_latency()
        if rig is None:
            return Controller(
                spec,
                round(self.latency_ms * 1e6),
                spec.plan_steps * spec.dt_ns,
                fade_steps=self.fade_steps,
                committed=committed,
            )
        rig.require_fits(spec, simulated=True)
        first_ns = self.refine_first_ns if self.choice.if_time else None
        return make_controller(spec, rig, first_ns, committed=committed)


def check_schedule(job: Job, spec: PolicySpec) -> None:
    """Refuse an L before anything is run at it. Raises RigError."""
    try:
        job.controller(spec)
    except RigError as cause:
        raise RigError(f"L = {job.latency_ms:g} ms: {cause}") from None


@dataclass(frozen=True)
class Episode:
    """The outcome of one episode. jump: mean distance, over the chunk boundaries, of the new plan's
    action from the old one's for the same tick, RMS over dimensions, in half ranges of the action;
    None without a boundary. jerk, flips: of the actions sent and of consecutive plans, see
    smoothness.py. fault: why the controller stopped, or empty. ticks, limited, refined, misses: as
    the controller counts them. cuts: how many commands each limit changed, "field: limit"."""

    seed: int
    success: bool
    steps: int
    plans: int
    jump: float | None
    fault: str = ""
    jerk: float | None = None
    flips: int | None = None
    ticks: int = 0
    limited: int = 0
    refined: int = 0
    misses: int = 0
    cuts: dict[str, int] = field(default_factory=dict)


class Evaluator:
    """One contestant in one simulated world; runs episodes by seed. One thread.

    lane: which of the contestant's inferences it uses, in a world of that number. sent, seams: the
    last episode's commands, raw (action_dim,), and the numbers of those with which a plan took over
    from another one.
    """

    def __init__(self, job: Job, contestant: Contestant | None = None, lane: int = 0) -> None:
        from ofp_edge.sim.simulator import ManualClock, open_simulator

        if not math.isfinite(job.latency_ms):
            raise OfpError(f"--latency-ms {job.latency_ms}: expected a number of milliseconds.")
        self.job = job
        self.contestant = contestant or open_contestant(job.path, job.choice)
        self.inference = self.contestant.inferences[lane]
        self.spec: PolicySpec = self.contestant.spec
        self.clock = ManualClock()
        world = f"{job.task} {lane}"
        self.simulator = open_simulator(
            job.task, self.spec, self.clock, world=world, delay_ms=job.robot_delay_ms
        )
        cameras = self.simulator.cameras
        if not cameras and job.frames == "other":
            raise OfpError("--frames other: this policy reads no camera.")
        dt_ns = self.spec.dt_ns
        self.observer = Observer(
            self.spec,
            cameras,
            self.contestant.cameras,
            self.contestant.tolerance,
            {name: dt_ns for name in self.spec.cameras},
            instruction=self._asked(0),
        )
        self.planner = Planner(self.inference, self.observer, NoTelemetry(), self.clock)
        self._half_range = half_ranges(self.spec)
        self._sides: list[int | None] = []
        self.sent: list[NDArray[np.float32]] = []
        self.seams: list[int] = []
        self._controller()  # what no schedule can meet is refused here

    def run(self, seed: int, watch: Callable[[], None] | None = None) -> Episode:
        """Run one episode from reset to success, its last step, or a fault.

        watch: called before the first control step and after each one.
        """
        robot, dt_ns, controller = self.simulator.robot, self.spec.dt_ns, self._controller()
        if self.job.frames == "other":
            self._play(self.record(seed + OTHER_EPISODE))
        self.inference.reseed(seed)
        self.observer.forget()
        robot.reset(seed)
        self.observer.tell(self._asked(seed))
        self.clock.advance(dt_ns)
        if watch is not None:
            watch()
        begun: list[Event] = [EpisodeStarted(self.clock())]
        heard: list[Event] = []
        jumps: list[float] = []
        cuts: Counter[str] = Counter()
        sent = self.sent = []
        self._sides, self.seams = [], []
        while not (outcome := robot.outcome()).over:
            tick_ns, state = self.clock(), robot.state()
            if self.job.rig is None:
                due = controller.plan_due(tick_ns)
                ahead = controller.ahead(tick_ns) if due else None
                order = Order(tick_ns, due, controller.warm_source, ahead=ahead)
                heard = self._think(order, state)
            old = controller.plan
            command = controller.step(tick_ns, [*begun, StateRead(state, tick_ns), *heard])
            begun, heard = [], []
            if command.kind == "stop":
                break
            if self.job.rig is not None:
                completed = command.order and controller.completed(command.order)
                heard = self._think(completed, controller.state or state)
            if old is not None and controller.plan is not None and controller.plan is not old:
                acts_ns = tick_ns + controller.delay_ns
                jumps.append(jump(old, controller.plan, acts_ns, self._half_range))
                self.seams.append(len(sent))
            cuts.update(command.cut)
            if command.action is not None:
                robot.send(command.action)
                sent.append(command.action)
            self.clock.advance(dt_ns)
            if watch is not None:
                watch()
        self._play({})
        counters = controller.counters
        return Episode(
            seed,
            outcome.success,
            self.simulator.world.steps,
            counters.plans,
            float(np.mean(jumps)) if jumps else None,
            controller.fault or "",
            jerk(np.asarray(sent, np.float32), self.spec) if sent else None,
            flips(self._sides),
            counters.ticks,
            counters.limited,
            counters.refined,
            counters.misses,
            dict(cuts),
        )

    def _asked(self, seed: int) -> str | None:
        """What the policy is told in an episode. UnknownName where its instructions have nothing
        that the task asks for."""
        asked = self.job.instruction
        if asked is None:
            asked = asked_of(self.simulator.world, self.spec)
        if self.job.words == "own":
            return asked
        told(self.spec.observations, asked)  # one that it knows
        others = [x for x in instructions_of(self.spec.observations) if x != asked]
        if not others:
            raise OfpError("--words other: this policy has no other instruction.")
        return others[seed % len(others)]

    def _controller(self) -> Controller:
        job = self.job
        committed = job.choice.committed and self.inference.prefix is not None
        return job.controller(self.spec, committed=committed)

    def _think(self, order: Order | None, state: RobotState) -> list[Event]:
        """What comes of an order, before this tick's action moves the world. state: as believed."""
        if order is None or not (order.plan or self.spec.n_obs_steps > 1):
            return []
        self.planner.states.add(state)
        self.planner.serve(order)
        events = self.planner.take()
        made = [event.chunk for event in events if isinstance(event, ChunkReady)]
        self._sides += [self.simulator.world.plan_side(chunk.actions) for chunk in made[-1:]]
        return events

    def record(self, seed: int) -> dict[str, list[Frame]]:
        """Record what every camera sees of the expert's episode `seed`, through the camera path."""
        robot, world = self.simulator.robot, self.simulator.world
        self._play({})
        robot.reset(seed)
        frames: dict[str, list[Frame]] = {name: [] for name in self.simulator.cameras}
        while not robot.outcome().over:
            self.clock.advance(self.spec.dt_ns)
            for name, camera in self.simulator.cameras.items():
                frame = camera.read(0.0)
                if frame is not None:
                    frames[name].append(frame)
            robot.send(world.expert_action())
        return frames

    def close(self) -> None:
        """Stop the camera and release the engines."""
        self.simulator.close()
        self.inference.close()

    def _play(self, frames: Mapping[str, Sequence[Frame]]) -> None:
        for name, camera in self.simulator.cameras.items():
            camera.play(frames.get(name, ()))
