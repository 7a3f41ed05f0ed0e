"""An evaluation as a JSON document, and the same for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ofp_edge.counted import counted
from ofp_edge.evaluate.contestant import Contestant
from ofp_edge.evaluate.episode import Episode, Job
from ofp_edge.evaluate.intervals import wilson_interval
from ofp_edge.evaluate.smoothness import jerk_unit
from ofp_edge.evaluate.start_text import start_text


def outcome(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Summarise the episodes of one job. success: 0..1; interval: 95 %, Wilson; steps: control
    steps; jump, jerk and flips: means over the episodes that have one, else None. limited, refined:
    how many commands the rig's safety layer changed, and plans a refining step improved; cuts: of
    these commands, how many each limit changed; misses: plans that came after t_obs + L."""
    good = sum(episode.success for episode in episodes)
    return {
        "success": good / len(episodes),
        "interval": list(wilson_interval(good, len(episodes))),
        "mean_steps": float(np.mean([episode.steps for episode in episodes])),
        "chunk_boundary_jump": _mean([episode.jump for episode in episodes]),
        "jerk": _mean([episode.jerk for episode in episodes]),
        "flips": _mean([episode.flips for episode in episodes]),
        "ticks": sum(episode.ticks for episode in episodes),
        "limited": sum(episode.limited for episode in episodes),
        "cuts": dict(sum((Counter(episode.cuts) for episode in episodes), Counter()).most_common()),
        "misses": sum(episode.misses for episode in episodes),
        "refined": sum(episode.refined for episode in episodes),
        "failed_seeds": [episode.seed for episode in episodes if not episode.success],
        "faults": dict(Counter(episode.fault for episode in episodes if episode.fault)),
    }


def document(
    jobs: Sequence[Job],
    contestant: Contestant,
    runs: Sequence[Sequence[Episode]],
    seed: int,
    workers: int,
    seconds: float,
) -> dict[str, Any]:
    """Return what `eval` prints as JSON. jobs: alike but for latency; runs: the episodes of each.

    `by_latency` has an outcome for each; those of the first stand at the top too.
    """
    job, prefix = jobs[0], contestant.inference.prefix
    committed = prefix.steps if prefix is not None and job.choice.committed else 0
    outcomes = [
        {
            "latency_ms": job.latency_ms,
            "cross_fade_steps": job.fades(contestant.spec, committed=committed > 0),
            **outcome(episodes),
        }
        for job, episodes in zip(jobs, runs, strict=True)
    ]
    return {
        "evaluated": str(job.path),
        "kind": contestant.kind,
        "sha256": contestant.sha256,
        "task": job.task,
        "trained_on": contestant.trained_on,
        "episodes": len(runs[0]),
        **outcomes[0],
        "jerk_unit": jerk_unit(contestant.spec),
        "rig": None if job.rig is None else str(job.rig.path),
        "actuation_delay_ms": 0.0 if job.rig is None else job.rig.timing.actuation_delay_ms,
        "robot_delay_ms": job.robot_delay_ms,
        "nfe": "auto" if job.choice.if_time else contestant.nfe,
        "t_w": contestant.t_w,
        "warm_step": contestant.warm_step,
        "guard": job.choice.guard,
        "start": contestant.own_start,
        "committed_steps": committed,
        "engine": contestant.engine,
        "precision": contestant.precision,
        "frames": job.frames,
        "words": job.words,
        "instruction": job.instruction,
        "by_latency": outcomes,
        "seed": seed,
        "first_seed": runs[0][0].seed,
        "workers": workers,
        "seconds": round(seconds, 3),
        "recorded": None,
    }


def table(values: dict[str, Any]) -> RenderableType:
    """Format the document in a few lines of at most 80 columns; several latencies as a table."""
    low, high = values["interval"]
    start = start_text(values)
    if values["committed_steps"]:
        start += f", told up to {values['committed_steps']} committed steps"
    control = values["frames"] == "other"
    several = len(values["by_latency"]) > 1
    measured = [
        ("success", f"{100 * values['success']:.1f} %  of {values['episodes']} unseen episodes"),
        ("95 % interval", f"{100 * low:.1f} … {100 * high:.1f} %  (Wilson)"),
        ("mean steps", f"{values['mean_steps']:.1f}"),
        ("chunk boundary jump", f"{short(values['chunk_boundary_jump'])} half ranges"),
        ("jerk", f"{short(values['jerk'])} {values['jerk_unit'] or ''}".rstrip()),
        *([] if values["flips"] is None else [("flips an episode", short(values["flips"]))]),
        ("latency L", f"{values['latency_ms']:g} ms"),
    ]
    rows = [
        *([("episodes", f"{values['episodes']} unseen ones")] if several else measured),
        ("evaluations a chunk", f"{values['nfe']}, {start}"),
        ("engine", f"{values['engine']}, {values['precision']}"),
        *_rig_rows(values),
        *([("camera frames", "another episode's (control)")] if control else []),
        *_told_rows(values),
        ("time", f"{values['seconds']:.1f} s, {counted(values['workers'], 'worker')}"),
    ]
    grid = Table(box=None, show_header=False)
    grid.add_column(style="dim")
    grid.add_column()
    for row in rows:
        grid.add_row(*row)
    title = Text(f"{values['evaluated']} on {values['task']}", style="italic")
    return Group(title, grid, *([_latencies(values)] if several else []))


def latency_rows(values: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows of success against latency, as text."""
    sides = any(item["flips"] is not None for item in values["by_latency"])
    head = (
        "L, ms",
        "success, %",
        "95 % interval",
        "steps",
        "jump",
        "jerk",
        *(["flips"] if sides else []),
        *(["limited, %"] if values["rig"] is not None else []),
    )
    rows = []
    for item in values["by_latency"]:
        low, high = item["interval"]
        rows.append(
            (
                f"{item['latency_ms']:g}",
                f"{100 * item['success']:.1f}",
                f"{100 * low:.1f} … {100 * high:.1f}",
                f"{item['mean_steps']:.1f}",
                short(item["chunk_boundary_jump"]),
                short(item["jerk"]),
                *([short(item["flips"])] if sides else []),
                *([f"{_percent(item['limited'], item):.0f}"] if values["rig"] is not None else []),
            )
        )
    return head, rows


def cut_text(item: dict[str, Any]) -> str:
    """Say which limits cut how many of the commands of one latency."""
    each = [f"{name} {_percent(count, item):.1f} %" for name, count in item["cuts"].items()]
    return ", ".join(each) or "nothing"


def _told_rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    """What the policy was told, where it is not the task's own words."""
    if values["words"] == "other":
        return [("instruction", "another one (control)")]
    return [] if values["instruction"] is None else [("instruction", values["instruction"])]


def _rig_rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Whose limits, what the robot's delay is and what is made of it, and which limit cut."""
    delay, own = values["actuation_delay_ms"], values["robot_delay_ms"]
    rows = []
    if delay or own:
        rows.append(("robot's delay", f"{own:g} ms, actuation_delay_ms {delay:g} ms"))
    if values["rig"] is not None:
        rows.append(("limits of", values["rig"]))
        for item in values["by_latency"]:
            faded = f"{item['cross_fade_steps']} steps of cross-fade"
            rows.append((f"cut at {item['latency_ms']:g} ms", f"{cut_text(item)}; {faded}"))
    return rows


def _percent(count: int, item: dict[str, Any]) -> float:
    return 100 * count / max(1, int(item["ticks"]))


def short(value: float | None) -> str:
    """Format a number with three digits, or a dash."""
    return "–" if value is None else f"{value:.3g}"


def _latencies(values: dict[str, Any]) -> Table:
    head, rows = latency_rows(values)
    found = Table(box=None)
    for name in head:
        found.add_column(name, justify="right")
    for row in rows:
        found.add_row(*row)
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
