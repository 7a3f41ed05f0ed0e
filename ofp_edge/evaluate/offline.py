"""`eval --dataset`: predicted against recorded chunks, through the path that robots run.

The one judgement that a policy without a simulator gets before it moves. It says how near the plans
are to what was demonstrated from the same observations, and nothing of where the robot gets to when
it follows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import Contestant, open_contestant
from ofp_edge.evaluate.offline_errors import (
    Moments,
    baselines,
    distance,
    held_against,
    moments_of,
)
from ofp_edge.evaluate.offline_verdict import verdict
from ofp_edge.evaluate.quantities import Quantity, quantities_of
from ofp_edge.evaluate.recorded import Recorded, open_recorded
from ofp_edge.evaluate.replanned import Plans, replan
from ofp_edge.evaluate.threads import one_torch_thread
from ofp_edge.fields import State
from ofp_edge.progress import Progress, silent
from ofp_edge.start import without_effect

WARM, COLD, ONLY = "warm", "cold", "deterministic"
_SAMPLES = 4


@dataclass(frozen=True, eq=False)
class Offline:
    """What was measured. document: plain JSON values, the `recorded` of `eval --dataset`. plans:
    (P, S, A) of the first noise of the first run, for the curves."""

    contestant: Contestant
    recorded: Recorded
    moments: Moments
    rows: list[Quantity]
    plans: NDArray[np.float32]
    document: dict[str, Any]


def measure_offline(
    path: Path,
    data: Path,
    choice: Choice,
    *,
    nfe: Sequence[int] | None = None,
    episodes: Sequence[int] | None = None,
    samples: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Offline:
    """Hold a policy or a bundle against recorded episodes.

    nfe: evaluations a chunk, each measured; by default the contestant's own, and more where it can
    do more. episodes: see `open_recorded`. samples: noises a plan; by default 4, and 1 where it is
    deterministic, which takes no other number. Raises OfpError, DatasetError,
    SpecMismatch.
    """
    if samples is not None and samples < 1:
        raise OfpError(f"--samples {samples}: expected 1 or more.")
    if seed < 0:
        raise OfpError(f"--seed {seed}: expected 0 or more.")
    first = _opened(path, choice, nfe[0] if nfe else None)
    if not first.draws and samples not in (None, 1):
        raise OfpError(without_effect(f"--samples {samples}"))
    if samples is None:
        samples = _SAMPLES if first.draws else 1
    recorded = open_recorded(data, first, episodes)
    moments = moments_of(recorded, first.spec)
    rows = quantities_of(first.spec, recorded.dataset, recorded.action)
    counts = list(nfe) if nfe else [first.nfe, *([first.more_nfe] if first.more_nfe else [])]
    runs, every, steps = [], [], first.spec.n_action_steps
    for number, count in enumerate(counts):
        contestant = first if number == 0 else _opened(path, choice, count)
        with one_torch_thread(contestant.engine):
            plans = replan(
                contestant.inference, recorded.dataset, recorded.episodes, samples, seed,
                warm=contestant.t_w is not None,
                progress=_part(progress, number, len(counts)),
            )  # fmt: skip
        contestant.close()
        _require_finite(plans, moments)
        every.append(plans)
        for start, chunks in ((WARM, plans.warm), (COLD if first.draws else ONLY, plans.cold)):
            if chunks is not None:
                found = held_against(chunks, moments, rows, steps)
                runs.append({"nfe": contestant.nfe, "start": start, **found})
    blind = baselines(moments, rows, first.spec, recorded.action)
    named = {name: held_against(x, moments, rows, steps) for name, x in blind.items()}
    between = [
        {"nfe": [counts[0], count], **distance(every[0].cold, plans.cold, moments, rows)}
        for count, plans in zip(counts[1:], every[1:], strict=True)
    ]
    dataset = recorded.dataset
    document = {
        "dataset": str(dataset.path),
        "sha256": dataset.sha256,
        "control_hz": dataset.control_hz,
        "episodes": list(recorded.episodes),
        "left_out": list(recorded.left_out),
        "unseen": recorded.unseen,
        "why": recorded.why,
        "frames": len(dataset.frames(recorded.episodes)),
        "plans": len(moments.episode),
        "samples": samples,
        "plan_steps": first.spec.plan_steps,
        "n_action_steps": steps,
        "quantities": [_described(row) for row in rows],
        "runs": runs,
        "baselines": [{"name": name, **_blind(found)} for name, found in named.items()],
        "between": between,
        "outside": outside(first, recorded),
        "outside_of": "training" if first.training.ranges else "the policy's stated range",
    }
    document["verdict"] = verdict(document)
    plans = every[0]
    shown = plans.cold if plans.warm is None else plans.warm
    return Offline(first, recorded, moments, rows, shown[0], document)


def outside(contestant: Contestant, recorded: Recorded) -> list[dict[str, Any]]:
    """Count the frames in which a state lies outside of what training saw, by dimension; those
    without one are left out."""
    found, rows = [], recorded.dataset.frames(recorded.episodes)
    for field in contestant.spec.observations:
        if not isinstance(field, State):
            continue
        low, high = contestant.training.ranges.get(field.name, (field.low, field.high))
        values = recorded.dataset.fields[field.name][rows]
        names = recorded.dataset.names.get(field.name)
        for i in range(values.shape[1]):
            a, b = np.float32(low[i]), np.float32(high[i])
            if count := int(((values[:, i] < a) | (values[:, i] > b)).sum()):
                found.append(
                    {
                        "name": names[i] if names else f"{field.name}[{i}]",
                        "frames": count,
                        "low": float(a),
                        "high": float(b),
                        "lowest": float(values[:, i].min()),
                        "highest": float(values[:, i].max()),
                    }
                )
    return found


def _opened(path: Path, choice: Choice, nfe: int | None) -> Contestant:
    return open_contestant(path, replace(choice, nfe=nfe), alone=True)


def _described(row: Quantity) -> dict[str, Any]:
    return {
        "name": row.name,
        "field": row.field,
        "unit": row.unit,
        "measure": row.measure,
        "spread": row.spread,
        "levels": list(row.levels),
    }


def _blind(found: dict[str, Any]) -> dict[str, Any]:
    """What means anything of a plan that has no noise and no hand-over."""
    kept = ("error", "executed", "error_by_step", "error_by_episode")
    of_row = ("name", "mean", "p95", "executed", "by_step")
    rows = [{key: row[key] for key in of_row} for row in found["quantities"]]
    return {**{key: found[key] for key in kept}, "quantities": rows}


def _require_finite(plans: Plans, moments: Moments) -> None:
    for chunks in (plans.cold, plans.warm):
        if chunks is not None and not np.isfinite(chunks).all():
            bad = int(np.flatnonzero(~np.isfinite(chunks).all(axis=(0, 2, 3)))[0])
            raise OfpError(
                f"the plan of episode {moments.episode[bad]}, frame {moments.frame[bad]} holds NaN "
                "or infinity: these weights can move no robot."
            )


def _part(progress: Progress, number: int, of: int) -> Progress:
    def move(done: int, total: int, note: str = "") -> None:
        progress(number * total + done, of * total, note)

    return move
