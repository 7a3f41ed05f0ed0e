"""The rules by which `tune` chooses a start and a refinement from measured settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.intervals import paired_difference
from ofp_edge.start import JUMP, MEAN, WARM_STEPS, Start

WARM_TIMES = (0.0, 0.3, 0.5, 0.7)
"""The values of t_w to try; 0 mixes in nothing of the last plan: a cold start."""
WARM_NOISES = (0.0, 0.25, 1.0)
COLD_NOISES = (0.0, 0.5, 1.0)
BEST_JUMPS = (
    (0.3, JUMP, 1.0, 0.25),
    (0.5, MEAN, 1.0, 0.0),
    (0.5, JUMP, 1.0, 0.0),
    (0.3, JUMP, 1.0, 1.0),
)
"""t_w, way, noise_cold and noise_warm of starts by which policies that jump did best somewhere."""
_WALKS = ((0.3, None, 1.0, 1.0), (0.0, None, 0.0, 0.0))
CHOSEN = ("t_w", "warm_step", "noise_cold", "noise_warm")
"""What is chosen of a start, as options of a run."""
REFINE_TIMES = (0.3, 0.5, 0.7, 0.9)
_CONFIDENCE = 0.95
RULE = (
    "Start: of the settings within 2 % of the best score and not proven worse (their paired 95 % "
    "interval reaches 0), those of the most noise at a cold start; of them the one with the fewest "
    "flips, then the smallest jump. A cold start's noise that loses one of two sides is not tried. "
    "Refinement: on where a second evaluation's paired interval lies above 0, at 95 % for all "
    "times together, over 20 episodes or more; at the best score."
)
FEWEST_EPISODES = 20
_GIVEN_UP = 0.02  # of the best score, for a calmer start: few episodes prove little


@dataclass(frozen=True)
class Setting:
    """A start to try. t: t_w, or t_refine; None for a policy that never starts warm. warm_step: of
    start.WARM_STEPS; None where a policy has one way."""

    t: float | None
    start: Start
    warm_step: str | None = None

    def choice(self, nfe: int | None) -> Choice:
        """Return the options of a run that starts so."""
        if self.t is None:
            return Choice(nfe=nfe, noise_cold=self.start.noise_cold)
        return Choice(
            nfe=nfe,
            t_w=self.t,
            warm_step=self.warm_step,
            noise_cold=self.start.noise_cold,
            noise_warm=self.start.noise_warm,
            cold_nfe=self.start.cold_nfe,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row's columns."""
        noises = {"noise_cold": self.start.noise_cold, "noise_warm": self.start.noise_warm}
        return {"t": self.t, "warm_step": self.warm_step, **noises}


def settings_around(
    start: Start, cold_noises: Sequence[float], *, warm: bool, jumps: bool
) -> list[Setting]:
    """Return every setting to try; cold_noises: those that lose no side. warm: whether the policy
    starts warm at all; jumps: whether it can jump from there."""
    starts = [start.with_(noise_cold=noise) for noise in cold_noises]
    if not warm:
        return [Setting(None, x) for x in starts]
    return [
        Setting(t, x.with_(noise_warm=noise), step)
        for x in starts
        for step in (WARM_STEPS if jumps else (None,))
        for t in WARM_TIMES
        for noise in WARM_NOISES
    ]


def known_starts(
    start: Start, cold_noises: Sequence[float], *, warm: bool, jumps: bool
) -> list[Setting]:
    """Return those of the settings to try that were the best on some task measured so far
    (docs/starts.md): on few episodes a good one may fall behind by bad luck."""
    if not warm:
        return []
    best = BEST_JUMPS if jumps else _WALKS
    return [
        Setting(t, start.with_(noise_cold=cold, noise_warm=noise), step)
        for t, step, cold, noise in best
        if cold in cold_noises
    ]


@dataclass(frozen=True)
class Measured:
    """A measured setting. scores: one an episode, higher is better, the same episodes in every
    setting. summary: the figures shown for it."""

    setting: Setting
    scores: tuple[float, ...]
    jump: float | None
    flips: float | None
    summary: dict[str, Any]

    @property
    def score(self) -> float:
        """Return the mean score."""
        return sum(self.scores) / len(self.scores)

    @property
    def rank(self) -> tuple[float, float, float]:
        """Return what a better setting has more of: score, then calm."""
        return self.score, -(self.flips or 0.0), -(self.jump or 0.0)


@dataclass(frozen=True)
class Comparison:
    """A setting against the one it is compared with: the difference in score, and its interval."""

    measured: Measured
    difference: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """Return the row of the table."""
        return {
            **self.measured.setting.to_json(),
            **self.measured.summary,
            "difference": self.difference,
            "interval_of_difference": [self.low, self.high],
        }


def choose_start(settings: Sequence[Measured]) -> tuple[Measured, list[Comparison]]:
    """Choose the start; return it, and every setting compared with the one of the best score."""
    best = max(settings, key=lambda x: x.rank)
    rows = [_compare(best, setting, _CONFIDENCE) for setting in settings]
    least = best.score - _GIVEN_UP * abs(best.score)
    fit = [row.measured for row in rows if row.high >= 0 and row.measured.score >= least]
    loudest = max(x.setting.start.noise_cold for x in fit)
    fit = [x for x in fit if x.setting.start.noise_cold == loudest]
    return min(fit, key=lambda x: (x.flips or 0.0, x.jump or 0.0)), rows


def choose_refine(
    once: Measured, twice: Sequence[Measured]
) -> tuple[Measured, bool, list[Comparison]]:
    """Choose a refining time; return it, whether it beats one evaluation, and all comparisons."""
    confidence = 1 - (1 - _CONFIDENCE) / len(twice)  # Bonferroni: the best of several is looked at
    rows = [_compare(once, setting, confidence) for setting in twice]
    best = max(rows, key=lambda row: (row.measured.score, -(row.measured.jump or 0.0)))
    proven = best.low > 0 and len(once.scores) >= FEWEST_EPISODES
    return best.measured, proven, rows


def _compare(reference: Measured, setting: Measured, confidence: float) -> Comparison:
    found = paired_difference(reference.scores, setting.scores, confidence=confidence)
    return Comparison(setting, *found)
