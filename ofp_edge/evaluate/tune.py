"""`tune`: measure starts and refinement, choose by the rule, and write the choice down."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ofp_edge.data.dataset import Dataset
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import run_jobs
from ofp_edge.evaluate.episode import Episode, Job, check_schedule
from ofp_edge.evaluate.halving import halve
from ofp_edge.evaluate.held_out import measure_held_out, open_training_data
from ofp_edge.evaluate.report import outcome
from ofp_edge.evaluate.seeds import validation_seeds
from ofp_edge.evaluate.sound_noise import sound_cold_noises
from ofp_edge.evaluate.tuning import (
    REFINE_TIMES,
    RULE,
    WARM_TIMES,
    Comparison,
    Measured,
    Setting,
    choose_refine,
    choose_start,
    known_starts,
    settings_around,
)
from ofp_edge.extras import require
from ofp_edge.files import new_folder, write_json
from ofp_edge.policy.config import REFINE, WARM, PolicyConfig
from ofp_edge.policy.folder import CONFIG, MARKER, load_policy
from ofp_edge.progress import Progress, silent
from ofp_edge.quantize.plan import FILE as PLAN
from ofp_edge.rig.file import Rig
from ofp_edge.start import DETERMINISTIC, JUMP, time_asked

TUNING = "tuning.json"


@dataclass(frozen=True)
class Tuned:
    """The measurements and the choice. table: the document, also tuning.json."""

    config: PolicyConfig
    table: dict[str, Any]


def tune_policy(
    path: Path,
    *,
    task: str | None = None,
    episodes: int = 100,
    nfe: int | None = None,
    dataset: Path | None = None,
    latency_ms: float | None = None,
    rig: Rig | None = None,
    workers: int = 2,
    refinement: bool = True,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Tuned:
    """Measure on validation episodes of `task` (by default the policy's), or on the held-out
    episodes of `dataset`; unless dry_run, write the choice into the folder, all of it or nothing.

    Episodes judge t_w and the noise of cold and warm starts together; a dataset, whose chunk error
    always favours the mean of all ways, judges t_w alone. nfe: network evaluations a chunk of the
    starts; by default 1, or what the method needs. refinement: whether to look for one.
    latency_ms: L of the episodes, by default the rig's, or 0; rig: whose limits and hand-over hold
    in them. Raises OfpError when there is nothing to measure on, or the policy is quantised
    already; RigError where no plan could be followed at this L.
    """
    policy = load_policy(path)
    config, warm = policy.config, policy.sampling.velocity
    if not policy.sampling.draws:
        raise PolicyError(f"{path}: nothing to tune: {DETERMINISTIC}.")
    if (path / PLAN).exists() and not dry_run:
        raise PolicyError(
            f"{path} is quantised, and its plan holds for the times it was made with. Tune the "
            "float policy and quantise it again, or give --dry-run."
        )
    nfe = 1 if nfe is None and warm else nfe
    jumps = warm and policy.sampling.jumps and nfe == 1
    own_step = config.warm_step() if jumps else None
    present = Setting(config.t_w if warm else None, config.start, own_step)
    if dataset is not None:
        if latency_ms is not None or rig is not None:
            raise OfpError("--dataset judges single chunks: leave out --latency-ms and --rig.")
        if not warm:
            raise PolicyError(f"method {config.method} has no t_w: nothing that a dataset judges.")
        opened = open_training_data(dataset, config)
        held_out = opened.split().held_out
        measured_on: dict[str, Any] = {
            "data": "held-out episodes",
            "task": None,
            "dataset": dataset.name,
            "episodes": len(held_out),
            "first_seed": None,
            "latency_ms": None,
            "rig": None,
        }
        loop: _OpenLoop | _ClosedLoop = _OpenLoop(path, opened, nfe, progress)
        found = loop.starts([Setting(t, config.start, own_step) for t in WARM_TIMES], len(held_out))
    else:
        task = task or config.task
        if task is None:
            raise OfpError(f"{path} knows no simulated task: give --task, or --dataset.")
        require("metaworld", "sim")
        job = _job(path, task, latency_ms, rig)
        check_schedule(job, config.spec)
        seeds = validation_seeds(episodes)
        measured_on = {
            "data": "validation episodes",
            "task": task,
            "dataset": None,
            "episodes": episodes,
            "first_seed": seeds[0],
            "latency_ms": job.latency_ms,
            "rig": None if rig is None else str(rig.path),
        }
        loop = _ClosedLoop(job, seeds, nfe, workers, progress)
        noises = sound_cold_noises(path, task, progress)
        settings = settings_around(config.start, noises, warm=warm, jumps=jumps)
        known = known_starts(config.start, noises, warm=warm, jumps=jumps)
        found = halve(settings, [*known, present], episodes, loop.starts)

    first, start_rows = choose_start(found)
    chosen, before = _start_of(first.setting), _start_of(present)
    refine_rows: list[Comparison] = []
    tuned = replace(config, start=first.setting.start)
    if refinement and warm and nfe == 1:
        second, refine, refine_rows = choose_refine(
            first, loop.refined([replace(first.setting, t=t) for t in REFINE_TIMES], first.setting)
        )
        chosen |= {"t_refine": second.setting.t, "refine": refine}
        before |= {"t_refine": _time(config, REFINE), "refine": config.refine}
        tuned = replace(_with_time(tuned, REFINE, second.setting.t), refine=refine)
    tuned = _with_time(tuned, WARM, first.setting.t, config.warm_step(first.setting.warm_step))
    table = {
        **measured_on,
        "nfe": nfe,
        "warm": [row.to_json() for row in start_rows],
        "refine": [row.to_json() for row in refine_rows],
        "chosen": chosen,
        "before": before,
        "rule": RULE,
    }
    if not dry_run:
        _store(path, Tuned(tuned, table))
    return Tuned(tuned, table)


def _job(path: Path, task: str, latency_ms: float | None, rig: Rig | None) -> Job:
    if latency_ms is None:
        latency_ms = 0.0 if rig is None else rig.timing.latency_ms
    if not math.isfinite(latency_ms):
        raise OfpError(f"--latency-ms {latency_ms}: expected a number of milliseconds.")
    return Job(path, task, latency_ms=latency_ms, rig=rig)


def _start_of(setting: Setting) -> dict[str, Any]:
    values = setting.to_json()
    return {"t_w": values.pop("t"), **values}


class _ClosedLoop:
    """Episodes of a job, whose choice is replaced: those that were run are not run again."""

    def __init__(
        self, job: Job, seeds: Sequence[int], nfe: int | None, workers: int, progress: Progress
    ) -> None:
        self._job, self._seeds, self._nfe = job, seeds, nfe
        self._workers, self._progress = workers, progress
        self._known: dict[Choice, list[Episode]] = {}

    def starts(self, settings: Sequence[Setting], episodes: int) -> list[Measured]:
        return self._measured(settings, [x.choice(self._nfe) for x in settings], episodes)

    def refined(self, settings: Sequence[Setting], start: Setting) -> list[Measured]:
        choices = [replace(start.choice(None), t_refine=x.t) for x in settings]
        return self._measured(settings, choices, len(self._seeds))

    def _measured(
        self, settings: Sequence[Setting], choices: Sequence[Choice], episodes: int
    ) -> list[Measured]:
        for known in sorted({len(self._known.get(x, ())) for x in choices}):
            waiting = [x for x in choices if len(self._known.get(x, ())) == known]
            if known >= episodes:
                continue
            jobs, seeds = [replace(self._job, choice=x) for x in waiting], self._seeds
            runs = run_jobs(
                jobs, seeds[known:episodes], workers=self._workers, progress=self._progress
            )
            for choice, run in zip(waiting, runs, strict=True):
                self._known.setdefault(choice, []).extend(run)
        return [
            _measured(setting, self._known[choice][:episodes])
            for setting, choice in zip(settings, choices, strict=True)
        ]


class _OpenLoop:
    """Held-out episodes of the data it was trained on."""

    def __init__(self, path: Path, data: Dataset, nfe: int | None, progress: Progress) -> None:
        self._path, self._data, self._nfe, self._progress = path, data, nfe, progress

    def starts(self, settings: Sequence[Setting], episodes: int) -> list[Measured]:
        return self._measured(settings, [x.choice(self._nfe) for x in settings])

    def refined(self, settings: Sequence[Setting], start: Setting) -> list[Measured]:
        choices = [replace(start.choice(None), t_refine=x.t) for x in settings]
        return self._measured(settings, choices)

    def _measured(self, settings: Sequence[Setting], choices: Sequence[Choice]) -> list[Measured]:
        found = []
        for setting, choice in zip(settings, choices, strict=True):
            found.append(measure_held_out(self._path, self._data, choice, setting))
            self._progress(len(found), len(settings))
        return found


def _measured(setting: Setting, episodes: Sequence[Episode]) -> Measured:
    found = outcome(episodes)
    keys = ("success", "interval", "mean_steps", "chunk_boundary_jump", "jerk", "flips")
    return Measured(
        setting,
        tuple(float(episode.success) for episode in episodes),
        found["chunk_boundary_jump"],
        found["flips"],
        {key: found[key] for key in keys},
    )


def _time(config: PolicyConfig, name: str) -> float | None:
    return next((t for row, t, _ in config.time_rows if row == name), None)


def _with_time(
    config: PolicyConfig, name: str, t: float | None, warm_step: str = JUMP
) -> PolicyConfig:
    """The configuration with one of its shipped times, another or added; None: as it is."""
    if t is None:
        return config
    rows = {row: (row, at, r) for row, at, r in config.time_rows}
    rows[name] = (name, t, time_asked(t, warm_step))
    return replace(config, time_rows=tuple(rows.values()))


def _store(path: Path, tuned: Tuned) -> None:
    """Both files at once: the folder is copied, changed, and exchanged."""
    with new_folder(path, force=True, marker=MARKER) as folder:
        shutil.copytree(path, folder, dirs_exist_ok=True)
        write_json(folder / CONFIG, tuned.config.to_json())
        write_json(folder / TUNING, {"schema_version": 1, **tuned.table})
