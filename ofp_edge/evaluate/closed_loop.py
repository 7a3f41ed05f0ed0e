"""Closed-loop episodes in simulation: the robot's own path on a simulated clock.

SimulatedCamera -> RealSense SDK -> PointCloud or ColorImage -> Inference -> Controller ->
SimulatedRobot, with the same Observer, Inference and Controller that `run` uses, and the same
constant latency L. An episode depends on its seed alone: not on the worker that runs it, nor on
what ran before.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ofp_edge.bundle import MANIFEST
from ofp_edge.errors import OfpError
from ofp_edge.evaluate.contestant import TORCH, Choice, Contestant, open_contestant
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.controller import (
    ChunkReady,
    Controller,
    EpisodeStarted,
    Event,
    PlanStarted,
)
from ofp_edge.runtime.observer import Observer
from ofp_edge.spec import PolicySpec

Frames = Literal["own", "other"]
FIRST_SEED = 1_000_000
"""Demonstrations are collected from seed 0 on, far below: no evaluated episode was trained on."""
SEEDS_A_RUN = 10_000
_OTHER_EPISODE = 500_000_000  # seeds of the episodes whose frames are played under frames="other"


@dataclass(frozen=True)
class Job:
    """What every worker is told. latency_ms: L. frames: the episode's own, or another one's."""

    path: Path
    task: str
    choice: Choice = Choice()
    latency_ms: float = 0.0
    frames: Frames = "own"


@dataclass(frozen=True)
class Episode:
    """How one episode went. jump: mean distance, over the chunk boundaries, of the new plan's
    action from the old one's for the same tick, RMS over dimensions, in half ranges of the action;
    None without a boundary. fault: why the controller stopped, or empty."""

    seed: int
    success: bool
    steps: int
    plans: int
    jump: float | None
    fault: str = ""


def evaluation_seeds(seed: int, episodes: int) -> range:
    """Episode seeds of run `seed`: disjoint from other runs' and from demonstrations'."""
    if not 1 <= episodes <= SEEDS_A_RUN:
        raise OfpError(f"--episodes {episodes}: expected 1..{SEEDS_A_RUN}.")
    if seed < 0:
        raise OfpError(f"--seed {seed}: expected 0 or more.")
    first = FIRST_SEED + seed * SEEDS_A_RUN
    return range(first, first + episodes)


class Evaluator:
    """One contestant in one simulated world; runs episodes by seed. One thread."""

    def __init__(self, job: Job, contestant: Contestant | None = None) -> None:
        from ofp_edge.sim.simulator import ManualClock, open_simulator

        if not math.isfinite(job.latency_ms):
            raise OfpError(f"--latency-ms {job.latency_ms}: expected a number of milliseconds.")
        self.job = job
        self.contestant = contestant or open_contestant(job.path, job.choice)
        self.spec: PolicySpec = self.contestant.spec
        self.clock = ManualClock()
        self.simulator = open_simulator(job.task, self.spec, self.clock)
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
        )
        half = [(b - a) / 2 for f in self.spec.actions for a, b in zip(f.low, f.high, strict=True)]
        self._half_range = np.asarray(half, dtype=np.float32)

    def run(self, seed: int) -> Episode:
        """One episode from reset to success, its last step, or a fault."""
        inference, robot, dt_ns = self.contestant.inference, self.simulator.robot, self.spec.dt_ns
        controller = Controller(
            self.spec, round(self.job.latency_ms * 1e6), self.spec.horizon * dt_ns
        )
        if self.job.frames == "other":
            self._play(self.record(seed + _OTHER_EPISODE))
        inference.reseed(seed)
        self.observer.forget()
        robot.reset(seed)
        self.clock.advance(dt_ns)
        events: list[Event] = [EpisodeStarted(self.clock())]
        jumps: list[float] = []
        while not (outcome := robot.outcome()).over:
            tick_ns = self.clock()
            due = controller.plan_due(tick_ns)
            if self.observer.poll(tick_ns) and (due or self.spec.n_obs_steps > 1):
                seen = self.observer.prepare(robot.state())
                inference.observe(seen.t_obs_ns, seen.arrays)
                if due:
                    chunk = inference.infer(seen.t_obs_ns, controller.warm_source)
                    events += [PlanStarted(tick_ns, seen.t_obs_ns), ChunkReady(chunk)]
            old = controller.plan
            command = controller.step(tick_ns, events)
            events = []
            if command.kind == "stop":
                break
            if old is not None and controller.plan is not None and controller.plan is not old:
                jumps.append(self._jump(old, controller.plan, tick_ns))
            if command.action is not None:
                robot.send(command.action)
            self.clock.advance(dt_ns)
        self._play({})
        return Episode(
            seed, outcome.success, self.simulator.world.steps, controller.counters.plans,
            float(np.mean(jumps)) if jumps else None, controller.fault or "",
        )  # fmt: skip

    def record(self, seed: int) -> dict[str, list[Frame]]:
        """What every camera sees of the expert's episode `seed`, through the camera path."""
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
        self.contestant.inference.close()

    def _play(self, frames: Mapping[str, Sequence[Frame]]) -> None:
        for name, camera in self.simulator.cameras.items():
            camera.play(frames.get(name, ()))

    def _jump(self, old: Chunk, new: Chunk, tick_ns: int) -> float:
        difference = (new.at(tick_ns) - old.at(tick_ns)) / self._half_range
        return float(np.sqrt(np.mean(difference**2)))


def run_episodes(
    job: Job,
    seeds: Sequence[int],
    *,
    workers: int = 2,
    contestant: Contestant | None = None,
    progress: Progress = silent,
) -> list[Episode]:
    """Run every seed once; the answers come in the order of `seeds`, whatever the workers did.

    workers: processes; 1 stays in this one (and may use an open `contestant`).
    """
    if workers < 1:
        raise OfpError(f"--workers {workers}: expected 1 or more.")
    episodes: dict[int, Episode] = {}

    def done(episode: Episode) -> None:
        episodes[episode.seed] = episode
        good = sum(e.success for e in episodes.values())
        progress(len(episodes), len(seeds), f"success {good}/{len(episodes)}")

    if min(workers, len(seeds)) == 1:
        evaluator = Evaluator(job, contestant)
        try:
            with _one_torch_thread(evaluator.contestant):
                for seed in seeds:
                    done(evaluator.run(seed))
        finally:
            evaluator.close()
    else:
        _in_processes(job, seeds, min(workers, len(seeds)), done)
    return [episodes[seed] for seed in seeds]


@contextlib.contextmanager
def _one_torch_thread(contestant: Contestant) -> Iterator[None]:
    """As in the worker processes, so that the sums are added in the same order."""
    if contestant.engine != TORCH:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_processes(job: Job, seeds: Sequence[int], workers: int, done: Any) -> None:
    # spawn: a fork would copy locks that engine threads hold.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (job,))
    try:
        for future in as_completed([pool.submit(_work, seed) for seed in seeds]):
            answer = future.result()
            if isinstance(answer, str):
                raise OfpError(answer)
            done(answer)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_job: Job | None = None
_evaluator: Evaluator | None = None


def _start_worker(job: Job) -> None:
    """One engine thread a process: the processes are the parallelism."""
    global _job
    os.environ["OMP_NUM_THREADS"] = "1"
    _job = job
    if not (job.path / MANIFEST).exists():
        import torch

        torch.set_num_threads(1)


def _work(seed: int) -> Episode | str:
    """An episode, or a user's error as its line: not every exception survives pickling."""
    global _evaluator
    assert _job is not None
    try:
        if _evaluator is None:
            _evaluator = Evaluator(_job)
        return _evaluator.run(seed)
    except OfpError as error:
        return str(error)
