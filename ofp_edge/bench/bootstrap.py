"""A hierarchical bootstrap, which says how sure a mean over training seeds and episodes is.

An episode belongs to a training seed, and a training seed to a task. The trainings and the episodes
were drawn at random and would come out differently another time; the tasks are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
RESAMPLES = 10_000
SUCCESS: tuple[float, ...] = (0, 1)
DIFFERENCE: tuple[float, ...] = (-1, 0, 1)


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval `low`, `high`: tasks weigh the same, and within a task the seeds do.

    `seed_share` is the share of the variance that comes from the training seeds (more episodes
    cannot lower it). It is None where no task has two seeds: the interval then holds for these
    weights alone.
    """

    mean: float
    low: float
    high: float
    seed_share: float | None

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


def estimate(
    tasks: Sequence[Sequence[Values]],
    levels: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean of `tasks[task][training seed][episode]`, and its bootstrap interval.

    `levels` are the values that an episode can take.

    The training seeds of each task are resampled, then the episodes of each drawn seed. For few
    seeds the plain scheme is wrong in two ways, both mended here. It sees only (S - 1) / S of the
    variance between S seeds, and it counts the episodes' noise twice (the seeds' means contain it
    already): the seeds' effects are therefore scaled to their estimated variance. That variance is
    itself a guess from few seeds: each resample's deviation is therefore divided by sqrt(chi2_df /
    df), as Student's t does for the normal. Every level counts as seen half a time more than it
    was, because plain resampling would know no doubt at all where all episodes went alike. Raises
    ValueError without values.
    """
    if not tasks or any(not seeds or any(not len(x) for x in seeds) for seeds in tasks):
        raise ValueError("a task without seeds, or a seed without episodes")
    means = [np.array([x.mean() for x in seeds]) for seeds in tasks]
    centre = float(np.mean([m.mean() for m in means]))
    between, scale, df = _seed_effects(tasks, means)
    random = np.random.default_rng(seed)
    known = np.asarray(levels, dtype=np.float64)
    deviation = np.zeros(resamples)
    for seeds, mean in zip(tasks, means, strict=True):
        drawn = random.integers(len(seeds), size=(resamples, len(seeds)))
        # A resample of episodes is a draw of counts: (resamples, seeds, levels).
        seen = np.array([[np.sum(x == level) + 0.5 for level in known] for x in seeds])
        shares = seen / seen.sum(1, keepdims=True)
        lengths = np.array([len(x) for x in seeds])
        counts = random.multinomial(lengths[drawn], shares[drawn])
        episodes = (counts * known).sum(-1) / lengths[drawn] - (shares @ known)[drawn]
        effects = scale * (mean - mean.mean())[drawn]
        deviation += (effects + episodes).mean(1)
    deviation /= len(tasks)
    if df is not None:
        deviation /= np.sqrt(random.chisquare(df, resamples) / df)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(deviation, [tail, 100 - tail])
    return Estimate(centre, centre + float(low), centre + float(high), between)


def _seed_effects(
    tasks: Sequence[Sequence[Values]], means: Sequence[Values]
) -> tuple[float | None, float, float | None]:
    """Return (share of the variance from seeds, factor on their effects, degrees of freedom).

    The analysis of variance takes the variance of the seeds' means for the sum of that of the seeds
    and that of the episodes in them, with Satterthwaite's degrees of freedom for the sum over
    tasks.
    """
    some = [(x, m) for x, m in zip(tasks, means, strict=True) if len(m) > 1]
    if not some:
        return None, 0.0, None
    total = np.array([m.var(ddof=1) / len(m) for _, m in some])  # the variance of a task's mean
    noise = np.array(
        [sum(x.var() / max(1, len(x) - 1) for x in seeds) / len(seeds) ** 2 for seeds, _ in some]
    )
    seen = sum(m.var() / len(m) for _, m in some)  # what resampling the seeds' means would give
    between = max(0.0, float(total.sum() - noise.sum()))
    if between == 0 or seen == 0:
        return 0.0, 0.0, None
    freedom = total.sum() ** 2 / sum(
        t**2 / (len(m) - 1) for t, (_, m) in zip(total, some, strict=True)
    )
    return between / float(total.sum()), float(np.sqrt(between / seen)), float(freedom)
