"""The rules by which `tune` chooses a warm start and a refinement from measured settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ofp_edge.evaluate.intervals import paired_difference

WARM_TIMES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
"""The values of t_w to try; 0 mixes in nothing of the last plan: a cold start."""
REFINE_TIMES = (0.3, 0.5, 0.7, 0.9)
_CONFIDENCE = 0.95
RULE = (
    "t_w: of the settings within 2 % of the best score and not proven worse (their paired 95 % "
    "interval reaches 0), the one with the fewest flips, then the smallest jump. Refinement: on "
    "where a second evaluation's paired interval lies above 0, at 95 % for all times together, "
    "over 20 episodes or more; at the best score."
)
FEWEST_EPISODES = 20
_GIVEN_UP = 0.02  # of the best score, for a calmer start: few episodes prove little


@dataclass(frozen=True)
class Measured:
    """A measured setting. t: its time. scores: one an episode, higher is better, the same episodes
    in every setting. summary: the figures shown for it."""

    t: float
    scores: tuple[float, ...]
    jump: float | None
    flips: float | None
    summary: dict[str, Any]

    @property
    def score(self) -> float:
        """Return the mean score."""
        return sum(self.scores) / len(self.scores)


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
            "t": self.measured.t,
            **self.measured.summary,
            "difference": self.difference,
            "interval_of_difference": [self.low, self.high],
        }


def choose_warm(settings: Sequence[Measured]) -> tuple[Measured, list[Comparison]]:
    """Choose the start; return it, and every setting compared with the one of the best score."""
    best = max(settings, key=lambda x: (x.score, -(x.jump or 0.0)))
    rows = [_compare(best, setting, _CONFIDENCE) for setting in settings]
    least = best.score - _GIVEN_UP * abs(best.score)
    fit = [row.measured for row in rows if row.high >= 0 and row.measured.score >= least]
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
