"""How far plans are from what was recorded: per quantity, per step of the horizon, in all.

The one number of all quantities is the mean over them of error / spread: 1 is as far off as the
recorded actions are from their mean. Grippers are counted apart, unless there is nothing else.
Steps past an episode's end are left out: nothing was recorded there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.evaluate.quantities import Quantity, mean_action
from ofp_edge.evaluate.recorded import Recorded
from ofp_edge.spec import PolicySpec

Array = NDArray[np.float64]
STILL, REPEAT, MEAN = "still", "repeat", "mean"


@dataclass(frozen=True, eq=False)
class Moments:
    """The P moments of planning. recorded: (P, S, A) raw, what was done from there on. inside:
    (P, S) whether the step is within the episode. episode, frame: (P,), the frame within it.
    before: (P, A) the action of the frame before; at an episode's start that of its first one."""

    recorded: NDArray[np.float32]
    inside: NDArray[np.bool_]
    episode: NDArray[np.int64]
    frame: NDArray[np.int64]
    before: NDArray[np.float32]


def moments_of(recorded: Recorded, spec: PolicySpec) -> Moments:
    """Return the moments at which a plan is due, in the order of `replan`."""
    steps, rows, ends, episodes, frames, before = np.arange(spec.plan_steps), [], [], [], [], []
    for episode in recorded.episodes:
        span = recorded.dataset.episode(episode)
        k = np.arange(0, span.stop - span.start, spec.n_action_steps)
        rows.append(span.start + k[:, None] + steps)
        ends.append(np.full(len(k), span.stop))
        episodes.append(np.full(len(k), episode))
        frames.append(k)
        before.append(span.start + np.maximum(k - 1, 0))
    row, end = np.concatenate(rows), np.concatenate(ends)[:, None]
    return Moments(
        recorded.action[np.minimum(row, end - 1)],
        row < end,
        np.concatenate(episodes),
        np.concatenate(frames),
        recorded.action[np.concatenate(before)],
    )


def baselines(
    moments: Moments, rows: list[Quantity], spec: PolicySpec, action: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return the plans (1, P, S, A) of those who see nothing. Standing still is what `hold` says of
    a delta or a velocity, and the last action of an absolute field."""
    hold = [np.nan if f.hold is None else f.hold for f in spec.actions for _ in range(f.shape[0])]
    still = np.where(np.isnan(hold), moments.before, np.asarray(hold, np.float32))
    plans = {STILL: still, REPEAT: moments.before, MEAN: mean_action(rows, action)}
    shape = moments.recorded.shape
    found = {
        name: np.broadcast_to(plan[..., None, :], shape)[None].astype(np.float32)
        for name, plan in plans.items()
    }
    if np.array_equal(found[STILL], found[REPEAT]):
        del found[REPEAT]
    return found


def held_against(
    plans: NDArray[np.float32], moments: Moments, rows: Sequence[Quantity], n_action_steps: int
) -> dict[str, Any]:
    """Return the errors of plans (K, P, S, A) of K noises as plain JSON values.

    executed: over the steps that are carried out before the next plan. best_of: of each plan the
    noise whose whole chunk is nearest. disagreement: between two noises. jump: of the next plan's
    first action from this plan's for the same moment.
    """
    inside, errors = moments.inside, np.empty((len(rows), *plans.shape[:-1]), np.float32)
    for number, row in enumerate(rows):
        errors[number] = row.errors(plans, moments.recorded)
    score = _score(errors, rows)  # (K, P, S)
    of_plan = _mean(score, inside, axis=2)  # (K, P)
    best = of_plan.argmin(axis=0)
    across = np.arange(len(best))
    first = inside & (np.arange(inside.shape[1]) < n_action_steps)
    pairs = list(combinations(range(len(plans)), 2))
    apart = _apart(rows, [(plans[i], plans[j]) for i, j in pairs], inside)
    successive = _successive(plans, moments, n_action_steps)
    jumps = _apart(rows, successive, None)
    quantities = [
        {
            "name": row.name,
            "mean": _all(errors[number], inside),
            "p95": float(np.percentile(errors[number][:, inside], 95)),
            "executed": _all(errors[number], first),
            "best_of": _all(errors[number][best, across][None], inside),
            "by_step": _by_step(errors[number], inside),
            "disagreement": apart[0][number],
            "jump": jumps[0][number],
        }
        for number, row in enumerate(rows)
    ]
    return {
        "error": _all(score, inside),
        "executed": _all(score, first),
        "error_by_step": _by_step(score, inside),
        "error_by_noise": [_all(part[None], inside) for part in score],
        "error_by_episode": [
            _all(score[:, chosen], inside[chosen])
            for e in dict.fromkeys(moments.episode.tolist())
            for chosen in [moments.episode == e]
        ],
        "best_of": _all(score[best, across][None], inside),
        "disagreement": apart[1],
        "jump": jumps[1],
        "quantities": quantities,
    }


def distance(
    a: NDArray[np.float32], b: NDArray[np.float32], moments: Moments, rows: Sequence[Quantity]
) -> dict[str, Any]:
    """Return how far two sets of plans (K, P, S, A) of the same noises are apart."""
    of_rows, whole = _apart(rows, list(zip(a, b, strict=True)), moments.inside)
    named = zip(rows, of_rows, strict=True)
    return {
        "distance": whole,
        "quantities": [{"name": row.name, "mean": value} for row, value in named],
    }


def _score(errors: NDArray[np.float32], rows: Sequence[Quantity]) -> Array:
    """The mean over quantities of error / spread; of agreements, where there is nothing else."""
    scored = [(i, row.spread) for i, row in enumerate(rows) if row.spread is not None]
    if not scored:
        scored = [(i, 1.0) for i, row in enumerate(rows) if row.measure == "agreement"]
    if not scored:  # nothing in this data ever moves
        return np.asarray(errors.mean(axis=0), np.float64)
    found = np.zeros(errors.shape[1:])
    for i, spread in scored:
        found += errors[i] / spread
    return found / len(scored)


def _apart(
    rows: Sequence[Quantity],
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    inside: NDArray[np.bool_] | None,
) -> tuple[list[float | None], float | None]:
    """The mean distance of each quantity over pairs of plans, and the one number; None without."""
    sums = np.zeros(len(rows) + 1)
    count = 0
    for a, b in pairs:
        errors = np.stack([row.errors(a, b) for row in rows]).astype(np.float32)
        every = np.concatenate([errors, _score(errors[:, None], rows)])
        taken = every.reshape(len(every), -1) if inside is None else every[:, inside]
        sums += taken.sum(axis=1, dtype=np.float64)
        count += taken.shape[1]
    if not count:
        return [None] * len(rows), None
    return (sums[:-1] / count).tolist(), float(sums[-1] / count)


def _successive(
    plans: NDArray[np.float32], moments: Moments, n_action_steps: int
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Next plan's action and this plan's at the hand-over, of each noise."""
    next_is_same = moments.episode[1:] == moments.episode[:-1]
    held = min(n_action_steps, plans.shape[2] - 1)  # the last action holds
    return [(part[1:][next_is_same, 0], part[:-1][next_is_same, held]) for part in plans]


def _mean(values: Array, inside: NDArray[np.bool_], axis: int) -> Array:
    return np.asarray(np.where(inside, values, 0).sum(axis) / inside.sum(axis - values.ndim))


def _all(values: NDArray[Any], inside: NDArray[np.bool_]) -> float:
    """The mean over noises, plans and steps."""
    return float(values[:, inside].mean(dtype=np.float64))


def _by_step(values: NDArray[Any], inside: NDArray[np.bool_]) -> list[float]:
    """The mean over noises and plans of each step; every chosen episode has a whole chunk."""
    return [float(values[:, inside[:, s], s].mean(dtype=np.float64)) for s in range(len(inside[0]))]
