"""Measure how often a cold chunk goes where no demonstration went, and which sides survive.

At decision states (where the hand's place does not show yet on which side the expert will pass the
obstacle) one chunk each is drawn cold, its way rolled out in the plane, and its lateral coordinate
read at the obstacle. The demonstrations of the same states say where the two modes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofp_edge.bundle import open_bundle
from ofp_edge.errors import OfpError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import SEEDS_A_RUN, evaluation_seeds
from ofp_edge.evaluate.contestant import POLICY, Contestant, open_contestant
from ofp_edge.evaluate.decisions import Decision, gather_decisions
from ofp_edge.evaluate.intervals import wilson_interval
from ofp_edge.progress import Progress, silent


@dataclass(frozen=True)
class Shares:
    """Shares of chunks by where they pass the obstacle; left, right, between, short add up to 1.

    between: closer to the midpoint than a quarter of the distance between the two modes' means, or
    colliding. short: the chunk does not reach the obstacle. outside (of left and right): farther
    from the midpoint than three quarters of that distance.
    """

    left: float
    right: float
    between: float
    short: float
    outside: float


@dataclass(frozen=True)
class ModesReport:
    """A measurement of modes. interval: 95 %, Wilson, of `between`. keeps_left, keeps_right: the
    share of each side over the demonstrations' own; None where they never went there."""

    contestant: Contestant
    task: str
    chunks: int
    guard: int
    seed: int
    shares: Shares
    interval: tuple[float, float]
    demonstrations: Shares

    @property
    def keeps_left(self) -> float:
        """Return the share of the left, over the demonstrations'."""
        return self.shares.left / self.demonstrations.left

    @property
    def keeps_right(self) -> float:
        """Return the share of the right, over the demonstrations'."""
        return self.shares.right / self.demonstrations.right


def measure_modes(
    path: Path, task: str | None = None, *, chunks: int = 2000, nfe: int | None = None,
    guard: int = 1, noise_cold: float | None = None, cold_nfe: int | None = None, seed: int = 0,
    engine: str | None = None, precision: str | None = None, seeds: Sequence[int] | None = None,
    progress: Progress = silent,
) -> ModesReport:  # fmt: skip
    """Draw `chunks` cold chunks of a policy or bundle at unseen decision states of `task`.

    A policy folder in fp32 is drawn from in batches, anything else one chunk at a time, as a robot
    does. task: None is the one it was trained on. seeds: of the episodes that the states are from;
    None: those of the evaluation's run `seed`. Raises OfpError: a task without sides, or what
    `open_contestant` refuses.
    """
    if chunks < 1:
        raise OfpError(f"--chunks {chunks}: expected 1 or more.")
    choice = Choice(
        nfe=nfe,
        engine=engine,
        precision=precision,
        cold=True,
        guard=guard,
        noise_cold=noise_cold,
        cold_nfe=cold_nfe,
    )
    contestant = open_contestant(path, choice)
    task = task or _own_task(path, contestant)
    try:
        decisions = gather_decisions(
            task,
            contestant,
            chunks,
            evaluation_seeds(seed, SEEDS_A_RUN) if seeds is None else seeds,
            progress,
        )
        drawn = _draw(path, contestant, decisions, guard, seed, progress)
    finally:
        contestant.inference.close()
    shown = _passes(decisions, [decision.demonstration for decision in decisions])
    left, right = shown.lateral[shown.lateral < 0], shown.lateral[shown.lateral > 0]
    if not len(left) or not len(right):
        raise OfpError(f"--chunks {chunks}: the demonstrations show one side only. Give more.")
    means = float(left.mean()), float(right.mean())
    shares = _shares(_passes(decisions, drawn), means)
    return ModesReport(
        contestant,
        task,
        chunks,
        guard,
        seed,
        shares,
        wilson_interval(round(shares.between * chunks), chunks),
        _shares(shown, means),
    )


def _own_task(path: Path, contestant: Contestant) -> str:
    task: str | None
    if contestant.kind == POLICY:
        from ofp_edge.policy.folder import load_policy

        task = load_policy(path).config.task
    else:
        task = open_bundle(path).manifest.provenance.get("task")
    if task is None:
        raise OfpError(f"{path} does not say on which task it was trained. Give --task.")
    return task


def _draw(
    path: Path, contestant: Contestant, decisions: list[Decision], guard: int, seed: int,
    progress: Progress,
) -> list[NDArray[np.float32]]:  # fmt: skip
    from ofp_edge.evaluate import draw

    if draw.in_batches(contestant):
        return draw.drawn_in_batches(path, contestant, decisions, guard, seed, progress)
    return draw.drawn_one_by_one(contestant, decisions, seed, progress)


@dataclass(frozen=True)
class _Passes:
    """lateral: (n,) metres, NaN where the way does not reach the obstacle. collided: (n,)."""

    lateral: NDArray[np.float64]
    collided: NDArray[np.bool_]


def _passes(decisions: list[Decision], chunks: list[NDArray[np.float32]]) -> _Passes:
    paths = [decision.path(chunk) for decision, chunk in zip(decisions, chunks, strict=True)]
    pairs = list(zip(decisions, paths, strict=True))
    laterals = [decision.sides.lateral(path) for decision, path in pairs]
    return _Passes(
        np.array([np.nan if x is None else x for x in laterals]),
        np.array([decision.sides.collides(path) for decision, path in pairs]),
    )


def _shares(passes: _Passes, means: tuple[float, float]) -> Shares:
    midpoint, quarter = sum(means) / 2, (means[1] - means[0]) / 4
    away = passes.lateral - midpoint
    between = passes.collided | (np.abs(away) < quarter)
    short = np.isnan(away) & ~between
    sided = ~between & ~short
    return Shares(
        *(
            float(which.mean())
            for which in (
                sided & (away < 0),
                sided & (away > 0),
                between,
                short,
                sided & (np.abs(away) > 3 * quarter),
            )
        )
    )
