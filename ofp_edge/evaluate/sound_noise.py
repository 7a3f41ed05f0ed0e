"""Which noises a cold start may have without losing one of two sides."""

from __future__ import annotations

from pathlib import Path

from ofp_edge.evaluate.modes import measure_modes
from ofp_edge.evaluate.seeds import VALIDATION
from ofp_edge.evaluate.tuning import COLD_NOISES
from ofp_edge.progress import Progress, silent
from ofp_edge.sim.tasks import find_task

_CHUNKS = 1000
_KEPT = 0.8  # of each side's share among demonstrations
_BETWEEN = 0.01  # more between the sides than with the noise of training


def sound_cold_noises(path: Path, task: str, progress: Progress = silent) -> tuple[float, ...]:
    """Return those of COLD_NOISES with which a policy keeps both sides of a two-sided task, and is
    between them hardly more often than with as much as training draws; all of them elsewhere."""
    if not find_task(task).two_sided:
        return COLD_NOISES
    found = {
        noise: measure_modes(
            path,
            task,
            chunks=_CHUNKS,
            noise_cold=noise,
            seeds=range(VALIDATION, VALIDATION + _CHUNKS),
            progress=progress,
        )
        for noise in COLD_NOISES
    }
    most = found[1.0].shares.between + _BETWEEN
    return tuple(
        noise
        for noise, x in found.items()
        if noise == 1.0 or (min(x.keeps_left, x.keeps_right) >= _KEPT and x.shares.between <= most)
    )
