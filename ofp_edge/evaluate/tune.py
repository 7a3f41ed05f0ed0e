"""`tune`: measure warm starts and refinement, choose by the rule, and write the choice down."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ofp_edge.data.dataset import Dataset
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import run_jobs
from ofp_edge.evaluate.episode import Episode, Job
from ofp_edge.evaluate.held_out import measure_held_out, open_training_data
from ofp_edge.evaluate.report import outcome
from ofp_edge.evaluate.seeds import validation_seeds
from ofp_edge.evaluate.tuning import (
    REFINE_TIMES,
    RULE,
    WARM_TIMES,
    Measured,
    choose_refine,
    choose_warm,
)
from ofp_edge.extras import require
from ofp_edge.files import new_folder, write_json
from ofp_edge.policy.config import COLD, REFINE, WARM, PolicyConfig
from ofp_edge.policy.folder import CONFIG, MARKER, load_policy
from ofp_edge.progress import Progress, silent
from ofp_edge.quantize.plan import FILE as PLAN

TUNING = "tuning.json"
Measure = Callable[[Sequence[tuple[float, Choice]]], list[Measured]]


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
    dataset: Path | None = None,
    workers: int = 2,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Tuned:
    """Measure on validation episodes of `task` (by default the policy's), or on the held-out
    episodes of `dataset`; unless dry_run, write the choice into the folder, all of it or nothing.

    Raises OfpError when there is nothing to measure on, or the policy is quantised already.
    """
    policy = load_policy(path)
    config = policy.config
    if not policy.sampling.velocity:
        raise PolicyError(f"method {config.method} starts every chunk from noise: nothing to tune.")
    if (path / PLAN).exists() and not dry_run:
        raise PolicyError(
            f"{path} is quantised, and its plan holds for the times it was made with. Tune the "
            "float policy and quantise it again, or give --dry-run."
        )
    if dataset is not None:
        opened = open_training_data(dataset, config)
        held_out = opened.split().held_out
        measured_on = {
            "data": "held-out episodes",
            "task": None,
            "dataset": dataset.name,
            "episodes": len(held_out),
            "first_seed": None,
        }
        measure = _open_loop(path, opened, progress)
    else:
        task = task or config.task
        if task is None:
            raise OfpError(f"{path} knows no simulated task: give --task, or --dataset.")
        require("metaworld", "sim")
        seeds = validation_seeds(episodes)
        measured_on = {
            "data": "validation episodes",
            "task": task,
            "dataset": None,
            "episodes": episodes,
            "first_seed": seeds[0],
        }
        measure = _closed_loop(path, task, seeds, workers, progress)

    warm, warm_rows = choose_warm(measure([(t, Choice(nfe=1, t_w=t)) for t in WARM_TIMES]))
    second, refine, refine_rows = choose_refine(
        warm, measure([(t, Choice(t_w=warm.t, t_refine=t)) for t in REFINE_TIMES])
    )
    chosen = {"t_w": warm.t, "t_refine": second.t, "refine": refine}
    table = {
        **measured_on,
        "warm": [row.to_json() for row in warm_rows],
        "refine": [row.to_json() for row in refine_rows],
        "chosen": chosen,
        "before": {"t_w": config.t_w, "t_refine": _time(config, REFINE), "refine": config.refine},
        "rule": RULE,
    }
    rows = ((COLD, 0.0, 1.0), (WARM, warm.t, 1.0), (REFINE, second.t, 1.0))
    tuned = Tuned(replace(config, time_rows=rows, refine=refine), table)
    if not dry_run:
        _store(path, tuned)
    return tuned


def _closed_loop(
    path: Path, task: str, seeds: Sequence[int], workers: int, progress: Progress
) -> Measure:
    def measure(settings: Sequence[tuple[float, Choice]]) -> list[Measured]:
        jobs = [Job(path, task, choice) for _, choice in settings]
        runs = run_jobs(jobs, seeds, workers=workers, progress=progress)
        return [_measured(t, run) for (t, _), run in zip(settings, runs, strict=True)]

    return measure


def _open_loop(path: Path, dataset: Dataset, progress: Progress) -> Measure:
    def measure(settings: Sequence[tuple[float, Choice]]) -> list[Measured]:
        found = []
        for t, choice in settings:
            found.append(measure_held_out(path, dataset, choice, t))
            progress(len(found), len(settings))
        return found

    return measure


def _measured(t: float, episodes: Sequence[Episode]) -> Measured:
    found = outcome(episodes)
    keys = ("success", "interval", "mean_steps", "chunk_boundary_jump", "jerk", "flips")
    return Measured(
        t,
        tuple(float(episode.success) for episode in episodes),
        found["chunk_boundary_jump"],
        found["flips"],
        {key: found[key] for key in keys},
    )


def _time(config: PolicyConfig, name: str) -> float | None:
    return next((t for row, t, _ in config.time_rows if row == name), None)


def _store(path: Path, tuned: Tuned) -> None:
    """Both files at once: the folder is copied, changed, and exchanged."""
    with new_folder(path, force=True, marker=MARKER) as folder:
        shutil.copytree(path, folder, dirs_exist_ok=True)
        write_json(folder / CONFIG, tuned.config.to_json())
        write_json(folder / TUNING, {"schema_version": 1, **tuned.table})
