"""The results of a suite so far, as one JSON document from which alone the tables are made."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import ofp_edge
from ofp_edge.bench import cells
from ofp_edge.bench.bootstrap import SUCCESS, Estimate, estimate
from ofp_edge.bench.comparisons import Compared, compare_all, episodes_of
from ofp_edge.bench.store import Cell, Store
from ofp_edge.bench.suite import Row, Side, Suite, TaskEntry
from ofp_edge.evaluate.intervals import wilson_interval
from ofp_edge.report.fingerprint import fingerprint

SCHEMA_VERSION = 1
Document = dict[str, Any]


def gather(suite: Suite, store: Store, *, command: list[str], pool: str, workers: int) -> Document:
    """Return the document: every figure with its interval and what it was made from.

    Success is a share 0..1, memory is in MiB, times are in s. Missing cells are left out and
    counted.
    """
    values: Document = {
        "schema_version": SCHEMA_VERSION,
        "suite": cells.suite_json(suite),
        "command": command,
        "ofp_edge": ofp_edge.__version__,
        "code": store.code,
        "run_on": pool,
        "workers": workers,
        "fingerprint": fingerprint(1),
        "cells": [cell for unit in cells.units(suite) for cell in _unit_cells(suite, store, unit)],
        "rows": [
            _row(suite, store, task, row, nfe)
            for task in suite.tasks
            for row in suite.rows
            for nfe in row.nfe
        ],
        "costs": _costs(suite, store),
        "comparisons": [_comparison(suite, result) for result in compare_all(suite, store)],
    }
    values["cells_planned"] = len(suite.seeds) * len(values["rows"])
    plain: Document = json.loads(json.dumps(values))  # as it reads back: lists, no tuples
    return plain


def _trained(suite: Suite, store: Store, unit: cells.Unit) -> Cell | None:
    return cells.finished_training(suite, store, unit)


def _unit_cells(suite: Suite, store: Store, unit: cells.Unit) -> list[Document]:
    found: list[Document] = []
    training = _trained(suite, store, unit)
    if training is None:
        return found
    for row, nfe in cells.variants(unit):
        episodes = store.read("episodes", cells.episodes_inputs(suite, unit, training, row, nfe))
        if episodes is None:
            continue
        count, good = len(episodes["seed"]), sum(episodes["success"])
        found.append(
            {
                "task": unit.task.name,
                "row": row.name,
                "nfe": nfe,
                "seed": unit.seed,
                "episodes": count,
                "success": good / count,
                "interval": wilson_interval(good, count),
                **{name: _middle(of, episodes.get(name)) for name, of in _ABOUT.items()},
                "modes": _modes(suite, store, unit, training, row, nfe),
                "tuning": _tuning(suite, store, unit, training, row, nfe),
                "training": {k: v for k, v in training.items() if k not in ("kind", "finished")},
                "made_by": episodes["code"],
                "first_seed": episodes["seed"][0],
                "successes": [int(x) for x in episodes["success"]],
            }
        )
    return found


# Per episode; None is what the code does not measure. A jump has no bound: one chunk that runs
# away far from all demonstrations, once, would be the mean of all.
_ABOUT: dict[str, Callable[..., Any]] = {
    "steps": np.mean, "jump": np.median, "jerk": np.median, "flips": np.mean,
}  # fmt: skip


def _middle(of: Callable[..., Any], values: list[float | None] | None) -> float | None:
    known = [x for x in values or () if x is not None]
    return float(of(known)) if known else None


def _modes(
    suite: Suite, store: Store, unit: cells.Unit, training: Cell, row: Row, nfe: int
) -> Document | None:
    if not cells.has_modes(unit, row):
        return None
    return _content(store.read("modes", cells.modes_inputs(suite, unit, training, row, nfe)))


def _tuning(
    suite: Suite, store: Store, unit: cells.Unit, training: Cell, row: Row, nfe: int
) -> Document | None:
    if not row.tuned:
        return None
    return _content(store.read("tuning", cells.tuning_inputs(suite, unit, training, nfe)))


def _content(cell: Cell | None) -> Document | None:
    return cell and {k: v for k, v in cell.items() if k not in ("kind", "inputs", "code")}


def _row(suite: Suite, store: Store, task: TaskEntry, row: Row, nfe: int) -> Document:
    """Return one entry of the success table: the mean over training seeds."""
    side = Side(row.name, nfe)
    found = [episodes_of(suite, store, task, side, seed) for seed in suite.seeds]
    done = [cell for cell in found if cell is not None]
    values: Document = {
        "task": task.name,
        "group": task.group,
        "row": row.name,
        "nfe": nfe,
        "seeds": len(done),
        "episodes": [len(cell["seed"]) for cell in done],
        "success": None,
        "interval": None,
    }
    if done:
        success = [np.asarray(cell["success"], np.float64) for cell in done]
        sure = estimate([success], SUCCESS)
        interval = max(0.0, sure.low), min(1.0, sure.high)
        values.update({"success": sure.mean, "interval": interval})
    for name, of in _ABOUT.items():
        values[name] = _middle(np.mean, [_middle(of, cell.get(name)) for cell in done])
    units = [cells.Unit(task, row.training, seed, (row,)) for seed in suite.seeds]
    modes = [
        _modes(suite, store, unit, training, row, nfe)
        for unit in units
        if (training := _trained(suite, store, unit))
    ]
    for name in ("between", "left", "right"):
        values[name] = _middle(np.mean, [m[name] for m in modes if m])
    values["demonstrations"] = next((m["demonstrations"] for m in modes if m), None)
    return values


def _costs(suite: Suite, store: Store) -> list[Document]:
    """Return what a training of each row took: medians over tasks and seeds."""
    rows = []
    for training in dict.fromkeys(row.training for row in suite.rows):
        members = tuple(row for row in suite.rows if row.training == training)
        units = [cells.Unit(t, training, s, members) for t in suite.tasks for s in suite.seeds]
        done = [cell for unit in units if (cell := _trained(suite, store, unit))]
        per_task: dict[str, list[float]] = {}
        seconds: dict[str, list[float]] = {}
        timing = None
        for unit, cell in ((u, _trained(suite, store, u)) for u in units):
            if cell:
                per_task.setdefault(unit.task.name, []).append(cell["cpu_s_per_step"])
                seconds.setdefault(unit.task.name, []).append(cell["seconds"])
            if timing is None and cells.needs_timing(suite, unit):
                timing = store.read("timing", cells.timing_inputs(suite, store, unit) or {})
        if done:
            rows.append(
                {
                    "rows": [row.name for row in members],
                    "method": members[0].method,
                    "options": members[0].options,
                    "trainings": len(done),
                    "cpu_s_per_step": float(np.median([cell["cpu_s_per_step"] for cell in done])),
                    "cpu_s_per_step_of_task": {k: float(np.median(v)) for k, v in per_task.items()},
                    "steps": sorted({cell["steps"] for cell in done}),
                    "seconds_of_task": {k: float(np.median(v)) for k, v in seconds.items()},
                    "peak_memory_mib": max(cell["peak_memory_mib"] for cell in done),
                    "training_memory_mib": max(
                        cell["peak_memory_mib"] - cell["memory_before_mib"] for cell in done
                    ),
                    "parameters": done[0]["parameters"],
                    "timing_run": timing
                    and {k: timing[k] for k in ("s_per_step", "reference_s_per_step")},
                }
            )
    plain = next((r for r in rows if r["method"] == "flow" and not r["options"]), None)
    for row in rows:
        row["relative_to_flow"] = plain and _ratio(row, plain)
    return rows


def _ratio(row: Document, flow: Document) -> float | None:
    """Compare task by task, because tasks differ in size."""
    mine, theirs = row["cpu_s_per_step_of_task"], flow["cpu_s_per_step_of_task"]
    both = [mine[task] / theirs[task] for task in mine if task in theirs]
    return float(np.median(both)) if both else None


def _comparison(suite: Suite, result: Compared) -> Document:
    found: Estimate | None = result.estimate
    return {
        "candidate": str(result.comparison.candidate),
        "against": _against(result),
        "group": result.group,
        "tasks": result.tasks,
        "pairs": result.pairs,
        "planned": result.planned,
        "episodes": result.episodes,
        "margin": suite.evaluate.margin,
        "verdict": result.verdict(suite.evaluate.margin),
        "estimate": found and {**asdict(found), "half_width": found.half_width},
        "narrow_enough": bool(found and found.half_width <= suite.evaluate.half_width),
    }


def _against(result: Compared) -> str:
    if result.comparison.against is not None:
        return str(result.comparison.against)
    return "the best other" + (f", {result.against}" if result.against else "")


def write_reports(folder: Path, values: Document) -> tuple[Path, Path, Path]:
    """Write results.json, results.md and report.html into `folder`, and return their paths."""
    from ofp_edge.bench.html import render
    from ofp_edge.bench.markdown import markdown
    from ofp_edge.files import write_bytes, write_json

    paths = folder / "results.json", folder / "results.md", folder / "report.html"
    write_json(paths[0], values)
    write_bytes(paths[1], markdown(values).encode())
    write_bytes(paths[2], render(values).encode())
    return paths
