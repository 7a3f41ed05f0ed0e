"""The seam between two chunks: what a told policy and a cross-fade make of jump, jerk and success.

    python scripts/seam.py --folder DIR [-o FILE] [--workers 2] [--rig rig.toml] [--quick]
        [--tasks NAME ...] [--seeds 0 1 2] [--episodes 300] [--latency-ms 50 100 200] [--steps N]

Two tasks of Meta-World and both two-sided ones, three training seeds; rows: a plain switch, the
cross-fade of `run`, a policy that is told what is committed, and both (the cross-fade then of
n_action_steps at most, so that a plan is followed alone before the next), each with noisy starts
(t_w .3, noise 1) and as followers (t_w .5, no noise), both by jumps. Prints one JSON document: by
task, L and row the jump and the jerk over the seam (ofp_edge/evaluate/seam.py says which), success,
and its paired difference from the cross-fade's of the same start, with 95 % intervals of bench's
bootstrap over training seeds and episodes. `*_of_plain`: as a share of the plain switch's of the
same start, and `*_of_noisy_plain` of the noisy one's; their intervals are over episodes alone, for
these policies (`by_seed` shows how far trainings differ). `demonstrated` has both measures of the
demonstrations, with a seam every n_action_steps. DIR/plots has a page a task of commands around
seams.

DIR keeps demonstrations, policies and cells: the same command goes on where it was ended, and
other tasks, seeds or L use what is there. --quick: two tasks, one seed, 400 steps, 6 episodes.

To be expected on a small x86, in CPU time: --quick 4 to 5 minutes. The whole table some 9 hours:
2.5 for its 24 policies (4,000 steps take 150 to 250 s, 12,000 three times as long), the rest for
its 86,400 episodes of 0.2 to 0.35 s; those of planar/obstacle are shorter. --episodes 100 (300 a
cell over three seeds) takes half of it, and --workers 2 half of the time on 2 cores.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import seam_plots
import torch
from seam_cells import (
    ROWS,
    STARTS,
    TASKS,
    Cell,
    Settings,
    cell,
    collect,
    demonstrated,
    policy,
)

from ofp_edge.bench.bootstrap import DIFFERENCE, SUCCESS, estimate
from ofp_edge.bench.store import slug
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.evaluate.intervals import paired_difference
from ofp_edge.evaluate.smoothness import jerk_unit
from ofp_edge.files import json_bytes, write_bytes
from ofp_edge.policy.folder import read_config
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.sim.tasks import find_task

Document = dict[str, Any]
Cells = dict[tuple[str, int, float, str, str], Cell]  # task, training seed, L, row, start
MEASURES = ("jump", "jerk", "jerk_normalised")
REFERENCE = "cross-fade"


def say(line: str) -> None:
    """Tell how far it is, beside the document."""
    print(line, file=sys.stderr, flush=True)


def unit(settings: Settings, task: str, seed: int) -> Cells:
    """Return every cell of a task and training seed, in a process of one thread."""
    torch.set_num_threads(1)
    found: Cells = {}
    for told in (False, True):
        folder = policy(settings, task, seed, told, say)
        for latency_ms in settings.latency_ms:
            for row, (is_told, _) in ROWS.items():
                for start in STARTS if is_told == told else ():
                    key = task, seed, latency_ms, row, start
                    found[key] = cell(settings, folder, *key, say)
    return found


def measure(settings: Settings, tasks: list[str], seeds: list[int], workers: int) -> Cells:
    """Return all cells. workers: processes, each at one task and training seed at a time."""
    for task in tasks:
        collect(settings, task, say)
    units = [(task, seed) for seed in seeds for task in tasks]
    cells: Cells = {}
    if workers == 1:
        for task, seed in units:
            cells |= unit(settings, task, seed)
        return cells
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for found in pool.map(partial(unit, settings), *zip(*units, strict=True)):
            cells |= found
    return cells


def table(cells: Cells, tasks: list[str], latency_ms: float, seeds: list[int]) -> list[Document]:
    """Return the rows of one L; of several tasks the means, in which each weighs the same."""
    return [
        {"row": row, "start": start, **_row(cells, tasks, latency_ms, seeds, row, start)}
        for start in STARTS
        for row in ROWS
    ]


def _row(
    cells: Cells, tasks: list[str], latency_ms: float, seeds: list[int], row: str, start: str
) -> Document:
    def of(name: str, by: str) -> list[list[Cell]]:
        return [[cells[task, seed, latency_ms, name, by] for seed in seeds] for task in tasks]

    def success(some: list[list[Cell]]) -> list[list[Any]]:
        return [[_array(x, "success") for x in one] for one in some]

    own = of(row, start)
    values: Document = {"success": _estimate(success(own), SUCCESS)}
    if row != REFERENCE:
        pairs = zip(success(own), success(of(REFERENCE, start)), strict=True)
        less = [[x - y for x, y in zip(*pair, strict=True)] for pair in pairs]
        values["against_cross_fade"] = _estimate(less, DIFFERENCE)
    for name in MEASURES:
        if len(tasks) == 1:
            values[name] = _mean(_together(own[0], name))
        for key, plain in (("plain", of("plain", start)), ("noisy_plain", of("plain", "noisy"))):
            pairs = zip(own, plain, strict=True)
            values[f"{name}_of_{key}"] = _shares([_share(*pair, name) for pair in pairs])
    if len(tasks) == 1:
        values["by_seed"] = [
            {
                "seed": seed,
                "policy_sha256": x["inputs"]["policy"],
                **{name: _mean(_array(x, name)) for name in ("success", *MEASURES)},
            }
            for seed, x in zip(seeds, own[0], strict=True)
        ]
    return values


def _array(found: Cell, name: str) -> Any:
    return np.asarray(found[name], np.float64)  # None is a NaN


def _mean(values: Any) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _together(some: list[Cell], name: str) -> Any:
    return np.concatenate([_array(x, name) for x in some])


def _estimate(tasks: list[list[Any]], levels: tuple[float, ...]) -> Document:
    found = estimate(tasks, levels)
    low, high = max(found.low, levels[0]), min(found.high, levels[-1])
    return {"mean": found.mean, "interval": [low, high]}


def _share(own: list[Cell], plain: list[Cell], name: str) -> Document | None:
    """A measure as a share of the plain switch's, over the episodes in which both have it."""
    ours, theirs = _together(own, name), _together(plain, name)
    both = ~(np.isnan(ours) | np.isnan(theirs))
    if not both.any() or not (whole := theirs[both].mean()):
        return None
    mean, low, high = (1 + x / whole for x in paired_difference(theirs[both], ours[both]))
    return {"mean": mean, "interval": [low, high]}


def _shares(tasks: list[Document | None]) -> Document | None:
    """The one, or the mean of several tasks' shares."""
    if len(tasks) == 1:
        return tasks[0]
    known = [x["mean"] for x in tasks if x is not None]
    return {"mean": float(np.mean(known)), "by_task": known} if len(known) == len(tasks) else None


def main() -> None:
    """Measure what is missing, print the document, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=None)
    parser.add_argument("--seeds", nargs="+", type=int, default=None)
    parser.add_argument("--episodes", type=int, default=None)
    parser.add_argument("--latency-ms", nargs="+", type=float, default=None)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--rig", type=Path, default=None)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=None)
    given = parser.parse_args()
    try:
        run(given)
    except OfpError as error:
        sys.exit(f"error: {error}")


def run(given: argparse.Namespace) -> Document:
    """Return the document of these options."""
    quick, began = given.quick, time.monotonic()
    tasks = given.tasks or (list(TASKS)[1:3] if quick else list(TASKS))
    for task in tasks:
        if task not in TASKS:
            raise UnknownName("task", task, TASKS)
    latencies = tuple(given.latency_ms or ([100.0] if quick else [50.0, 100.0, 200.0]))
    seeds = given.seeds or ([0] if quick else [0, 1, 2])
    rates = [find_task(x).control_hz for x in tasks]
    settings = Settings(
        given.folder,
        given.episodes or (6 if quick else 300),
        latencies,
        math.ceil(max(latencies) / 1e3 * max(rates) - 1e-9),
        given.steps or (400 if quick else None),
        20 if quick else None,
        given.rig,
    )
    cells = measure(settings, tasks, seeds, given.workers)
    specs = {x: read_config(policy(settings, x, seeds[0], False, say)).spec for x in tasks}
    document = {
        "command": sys.argv[1:],
        "seeds": seeds,
        "episodes": settings.episodes,
        "committed_steps": settings.committed_steps,
        "rig": None if given.rig is None else str(given.rig),
        "tasks": [
            {
                "task": task,
                "jerk_unit": jerk_unit(specs[task]),
                "demonstrated": demonstrated(settings, task, specs[task]),
                "by_latency": [
                    {"latency_ms": x, "rows": table(cells, [task], x, seeds)} for x in latencies
                ],
            }
            for task in tasks
        ],
        "over_tasks": [
            {"latency_ms": x, "rows": table(cells, tasks, x, seeds)}
            for x in latencies
            if len(tasks) > 1
        ],
        "fingerprint": fingerprint(1),
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(sum(os.times()[:4]), 1),
    }
    for task in tasks:
        drawn = {
            x: {
                start: {row: cells[task, seeds[0], x, row, start]["traces"] for row in ROWS}
                for start in STARTS
            }
            for x in latencies
        }
        page = seam_plots.render(task, specs[task], drawn)
        path = given.folder / "plots" / f"{slug(task)}.html"
        write_bytes(path, page.encode())
    text = json_bytes(document)
    sys.stdout.write(text.decode())
    if given.output is not None:
        write_bytes(given.output, text)
    return document


if __name__ == "__main__":
    main()
