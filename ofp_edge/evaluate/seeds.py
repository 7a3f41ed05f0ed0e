"""The episode seeds by purpose: ranges that never meet, in one place.

          0 ..     999 999   demonstrations (`collect`)
  1 000 000 .. 299 999 999   evaluation: 10 000 a run (`eval --seed`)
300 000 000 .. 300 009 999   validation: what `tune` chooses by
400 000 000 .. 400 009 999   the gate: a policy that was tuned has seen validation's
500 000 000 +  evaluation    the episodes whose frames `--frames other` plays
"""

from __future__ import annotations

from ofp_edge.errors import OfpError

FIRST_SEED = 1_000_000
"""The first seed of evaluation. Demonstrations start at seed 0, far below: none is evaluated."""
SEEDS_A_RUN = 10_000
VALIDATION = 300_000_000
GATE = 400_000_000
OTHER_EPISODE = 500_000_000
_RUNS = (VALIDATION - FIRST_SEED) // SEEDS_A_RUN


def evaluation_seeds(seed: int, episodes: int) -> range:
    """Return the episode seeds of run `seed`: disjoint from other runs and demonstrations."""
    _check(episodes)
    if not 0 <= seed < _RUNS:
        raise OfpError(f"--seed {seed}: expected 0..{_RUNS - 1}.")
    first = FIRST_SEED + seed * SEEDS_A_RUN
    return range(first, first + episodes)


def validation_seeds(episodes: int) -> range:
    """Return the first `episodes` seeds of validation: the same ones for every policy."""
    _check(episodes)
    return range(VALIDATION, VALIDATION + episodes)


def gate_seeds(episodes: int) -> range:
    """Return the first `episodes` seeds of the gate: the same ones for every plan."""
    _check(episodes)
    return range(GATE, GATE + episodes)


def check_for_calibration(first: int) -> None:
    """Refuse to record calibration samples in episodes from seed `first` on if they are for
    evaluation or validation. Raises OfpError."""
    if first + SEEDS_A_RUN > FIRST_SEED:
        raise OfpError(
            f"--record-calibration with --seed {first}: episodes from {FIRST_SEED} on are for "
            f"evaluation. Give a seed of at most {FIRST_SEED - SEEDS_A_RUN}."
        )


def _check(episodes: int) -> None:
    if not 1 <= episodes <= SEEDS_A_RUN:
        raise OfpError(f"--episodes {episodes}: expected 1..{SEEDS_A_RUN}.")
