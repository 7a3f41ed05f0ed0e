"""What seam.py measures: its policies and its cells, in a folder in which a killed run goes on.

    datasets/<task>.zarr           demonstrations, collected once a task
    policies/<task>-<key>          a policy of one training seed, told or not
    cells/<key>.json               the episodes of one policy at one L, start and hand-over

A cell's key hashes the policy's content and every setting of its episodes. A policy's hashes the
dataset's content and every setting of its training; it is trained on where it was left.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.bench.store import key_of, slug
from ofp_edge.data.open import open_dataset
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import Evaluator, Job
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.evaluate.seam import measure_seams
from ofp_edge.evaluate.seeds import evaluation_seeds
from ofp_edge.files import read_json, sha256_file, sha256_folder, write_json
from ofp_edge.policy.folder import read_config
from ofp_edge.policy.weights import MODEL
from ofp_edge.rig.file import Rig, read_rig
from ofp_edge.rig.timing import Timing
from ofp_edge.sim.collect import collect_demonstrations
from ofp_edge.spec import PolicySpec
from ofp_edge.start import JUMP
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request

Cell = dict[str, Any]
Say = Callable[[str], None]
METHOD, PRESET = "ofp-plus", "small"
STARTS: dict[str, dict[str, Any]] = {
    "noisy": {"t_w": 0.3, "warm_step": JUMP, "noise_warm": 1.0, "noise_cold": 1.0, "cold_nfe": 1},
    "follower": {"t_w": 0.5, "warm_step": JUMP, "noise_warm": 0.0, "cold_nfe": 4},
}
ROWS = {  # (told, cross-faded)
    "plain": (False, False),
    "cross-fade": (False, True),
    "told": (True, False),
    "told + cross-fade": (True, True),
}
_TRACES, _BEFORE, _AFTER = 8, 4, 6  # episodes, and control steps beside the committed ones


@dataclass(frozen=True)
class Training:
    """How a task's policies are made. steps: None is the preset's."""

    demonstrations: int = 50
    steps: int | None = None
    learning_rate: float | None = None


TASKS = {  # as ofp_edge/bench/suites has them
    "metaworld/door-open": Training(),
    "metaworld/stick-push": Training(),
    "planar/obstacle": Training(500, 12_000, 3e-3),
    "metaworld/button-press-topdown-two-sided": Training(300, 12_000, 3e-3),
}


@dataclass(frozen=True)
class Settings:
    """What a run asks. rig: a file whose limits hold, by task. committed_steps: of told ones."""

    folder: Path
    episodes: int
    latency_ms: tuple[float, ...]
    committed_steps: int
    steps: int | None = None
    demonstrations: int | None = None
    rig: Path | None = None


def collect(settings: Settings, task: str, say: Say) -> Path:
    """Return the task's demonstrations, collected where they are missing."""
    count = settings.demonstrations or TASKS[task].demonstrations
    path = settings.folder / "datasets" / f"{slug(task)}-{count}.zarr"
    if not path.exists():
        say(f"{task}: {count} demonstrations")
        path.parent.mkdir(parents=True, exist_ok=True)
        collect_demonstrations(task, count, path, observe="state")
    return path


def demonstrated(settings: Settings, task: str, spec: PolicySpec) -> dict[str, float]:
    """Return what both measures say of the demonstrations, where a plan every n_action_steps would
    have its seams: means over episodes. What a policy learns is no calmer than this."""
    data = open_dataset(collect(settings, task, lambda _: None))
    names = ("jump", "jerk", "jerk_normalised")
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(data.episodes):
        sent = data.action[data.episode(number)]
        seams = range(spec.n_action_steps, len(sent), spec.n_action_steps)
        for name, value in zip(names, measure_seams(sent, seams, spec), strict=True):
            found[name] += [] if value is None else [value]
    return {name: float(np.mean(values)) for name, values in found.items()}


def policy(settings: Settings, task: str, seed: int, told: bool, say: Say) -> Path:
    """Return the policy of a training seed, trained, or trained on, where it isn't finished."""
    how, dataset = TASKS[task], collect(settings, task, say)
    inputs: Cell = {
        "dataset": open_dataset(dataset).sha256,
        "method": METHOD,
        "preset": PRESET,
        "steps": how.steps if settings.steps is None else settings.steps,
        "learning_rate": how.learning_rate,
        "committed_steps": settings.committed_steps if told else 0,
        "seed": seed,
    }
    path = settings.folder / "policies" / f"{slug(task)}-{key_of(inputs)}"
    mark = path.with_suffix(".json")
    done = read_json(mark) if mark.exists() else None
    if done and done["finished"] and (path / MODEL).exists():
        return path
    say(f"{task}: training seed {seed}, {'told' if told else 'not told'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if done and path.exists():
        request = Request(dataset, path, resume=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
        write_json(mark, {"inputs": inputs, "finished": False})
        request = Request(
            dataset,
            path,
            METHOD,
            PRESET,
            steps=inputs["steps"],
            learning_rate=how.learning_rate,
            seed=seed,
            committed_steps=inputs["committed_steps"] or None,
        )
    if train(make_plan(request)).interrupted:
        raise KeyboardInterrupt
    write_json(mark, {"inputs": inputs, "finished": True, "sha256": sha256_file(path / MODEL)})
    return path


def cell(
    settings: Settings,
    folder: Path,
    task: str,
    seed: int,
    latency_ms: float,
    row: str,
    start: str,
    say: Say,
) -> Cell:
    """Return the episodes of a policy by one row, start and L: read, or run and written. seed: the
    training's, for each of which every row runs the same episodes."""
    told, faded = ROWS[row]
    spec = read_config(folder).spec
    rig = None if settings.rig is None else read_rig(settings.rig).timing
    timing = Timing(latency_ms, math.inf) if rig is None else replace(rig, latency_ms=latency_ms)
    fade = timing.fade_steps(spec)
    fade = min(fade, spec.n_action_steps) if told else fade  # then one plan is followed alone
    inputs: Cell = {
        "policy": sha256_folder(folder),
        "task": task,
        "run": seed,
        "episodes": settings.episodes,
        "latency_ms": latency_ms,
        "fade_steps": fade if faded else 0,
        "start": STARTS[start],
        "rig": None if settings.rig is None else sha256_file(settings.rig),
    }
    path = settings.folder / "cells" / f"{slug(f'{task} {latency_ms:g} ms {row} {start}')}-"
    path = path.with_name(f"{path.name}{key_of(inputs)}.json")
    if path.exists() and (found := read_json(path))["inputs"] == inputs:
        return dict(found)
    say(f"{task}: {row}, {start}, L {latency_ms:g} ms, {settings.episodes} episodes")
    path.parent.mkdir(parents=True, exist_ok=True)
    choice = Choice(nfe=1, committed=told, **STARTS[start])
    values = {"inputs": inputs, **_run(settings, folder, inputs, choice)}
    write_json(path, values)
    return values


def _run(settings: Settings, folder: Path, inputs: Cell, choice: Choice) -> Cell:
    task, latency_ms, fade = inputs["task"], inputs["latency_ms"], inputs["fade_steps"]
    contestant = open_contestant(folder, choice, alone=True)
    spec, rig = contestant.spec, None
    if settings.rig is not None:
        rig = _handing_over(read_rig(settings.rig), fade)
    evaluator = Evaluator(
        Job(folder, task, choice, latency_ms, fade_steps=fade, rig=rig), contestant
    )
    names = ("seed", "success", "jump", "jerk", "jerk_normalised", "seams")
    found: Cell = {**{name: [] for name in names}, "traces": []}
    try:
        for seed in evaluation_seeds(inputs["run"], settings.episodes):
            episode = evaluator.run(seed)
            sent = np.asarray(evaluator.sent, np.float32).reshape(-1, spec.action_dim)
            measured = measure_seams(sent, evaluator.seams, spec)
            counted = (seed, episode.success, *measured, len(evaluator.seams))
            for name, value in zip(names, counted, strict=True):
                found[name].append(value)
            if len(found["traces"]) < _TRACES and evaluator.seams:
                found["traces"].append(_trace(sent, evaluator.seams, latency_ms, spec))
    finally:
        evaluator.close()
    return found


def _handing_over(rig: Rig, fade: int) -> Rig:
    """The rig with so many steps of cross-fade, told or not."""
    return replace(rig, timing=replace(rig.timing, cross_fade_steps=fade))


def _trace(sent: Any, seams: list[int], latency_ms: float, spec: PolicySpec) -> Cell:
    """The commands around the seam in the middle of an episode, in units of each action."""
    k = seams[len(seams) // 2]
    delay = int(np.ceil(latency_ms / 1e3 / spec.dt_s - 1e-9))
    first = max(0, k - delay - _BEFORE)
    scale = np.repeat([x.scale for x in spec.actions], [x.shape[0] for x in spec.actions])
    return {"first": first - k, "commands": (sent[first : k + _AFTER] * scale).tolist()}
