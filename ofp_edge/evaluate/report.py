"""An evaluation as a JSON document, and the same for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from ofp_edge.evaluate.closed_loop import Episode, Job
from ofp_edge.evaluate.contestant import Contestant
from ofp_edge.evaluate.statistics import wilson_interval


def document(
    job: Job,
    contestant: Contestant,
    episodes: Sequence[Episode],
    seed: int,
    workers: int,
    seconds: float,
) -> dict[str, Any]:
    """What `eval` prints as JSON. success: 0..1; interval: 95 %, Wilson; steps: control steps."""
    good = sum(episode.success for episode in episodes)
    jumps = [episode.jump for episode in episodes if episode.jump is not None]
    return {
        "evaluated": str(job.path),
        "kind": contestant.kind,
        "sha256": contestant.sha256,
        "task": job.task,
        "episodes": len(episodes),
        "success": good / len(episodes),
        "interval": list(wilson_interval(good, len(episodes))),
        "mean_steps": float(np.mean([episode.steps for episode in episodes])),
        "chunk_boundary_jump": float(np.mean(jumps)) if jumps else None,
        "nfe": contestant.nfe,
        "t_w": contestant.t_w,
        "guard": job.choice.guard,
        "engine": contestant.engine,
        "precision": contestant.precision,
        "frames": job.frames,
        "latency_ms": job.latency_ms,
        "seed": seed,
        "first_seed": episodes[0].seed,
        "failed_seeds": [episode.seed for episode in episodes if not episode.success],
        "faults": dict(Counter(episode.fault for episode in episodes if episode.fault)),
        "workers": workers,
        "seconds": round(seconds, 3),
    }


def table(values: dict[str, Any]) -> RenderableType:
    """The document in a few lines of at most 80 columns."""
    low, high = values["interval"]
    start = "cold" if values["t_w"] is None else f"warm, t_w {values['t_w']:g}"
    if values["guard"] > 1:
        start += f", guarded among {values['guard']}"
    jump = values["chunk_boundary_jump"]
    frames = "its own" if values["frames"] == "own" else "another episode's (control)"
    rows = [
        ("success", f"{100 * values['success']:.1f} %  of {values['episodes']} unseen episodes"),
        ("95 % interval", f"{100 * low:.1f} … {100 * high:.1f} %  (Wilson)"),
        ("mean steps", f"{values['mean_steps']:.1f}"),
        ("chunk boundary jump", "–" if jump is None else f"{jump:.3f} half ranges"),
        ("evaluations a chunk", f"{values['nfe']}, {start}"),
        ("engine", f"{values['engine']}, {values['precision']}"),
        ("latency L", f"{values['latency_ms']:g} ms"),
        ("depth frames", frames),
        ("time", f"{values['seconds']:.1f} s, {values['workers']} workers"),
    ]
    grid = Table(box=None, show_header=False, title=f"{values['evaluated']} on {values['task']}",
                 title_justify="left")  # fmt: skip
    grid.add_column(style="dim")
    grid.add_column()
    for row in rows:
        grid.add_row(*row)
    return grid
