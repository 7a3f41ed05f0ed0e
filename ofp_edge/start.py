"""Start says how a chunk begins: how much noise, and in how many evaluations when there is no plan.

One-step policies fail by a sample's spread where demonstrations are nearly deterministic, and need
it where there are several ways to choose among: so the noise is a number of the policy.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from ofp_edge.errors import OfpError

LOUDEST = 2.0
"""The largest noise of a start: twice what training knows."""
MOST_COLD = 16
"""The largest number of evaluations of a cold start."""
FROM_COLD = "cold-ladder"
"""The name of the time rows that a cold start of several evaluations walks, in their order."""
JUMP, MEAN = "jump", "mean"
WARM_STEPS = (JUMP, MEAN)
"""The ways from a warm start to a chunk: a jump, to one of those that may follow, or the velocity
followed to the end, to the mean of them."""


def way_of(t: float, r: float) -> str:
    """Return the way that a pair of times stands for: r = t is the velocity."""
    return MEAN if r == t else JUMP


def time_asked(t: float, way: str) -> float:
    """Return the r of the pair that stands for a way from t."""
    return t if way == MEAN else 1.0


DETERMINISTIC = (
    "this policy is deterministic: a chunk follows from the observation alone, in one evaluation, "
    "without noise and without the last plan"
)


def without_effect(option: str) -> str:
    """Return why a deterministic policy takes no option about starts or numbers of evaluations."""
    return f"{option}: {DETERMINISTIC}. Leave it out."


@dataclass(frozen=True)
class Start:
    """The start of a chunk: the standard deviation of the noise of a cold and of a warm start, and
    a cold chunk's evaluations where they are more than another's.

    cold_nfe: from 0 to 1 in even steps; None or 1: as every chunk. noise: 1 is what the network is
    trained on; a warm start mixes (1 - t_w) of it with the last plan.
    """

    cold_nfe: int | None = None
    noise_cold: float = 1.0
    noise_warm: float = 1.0

    def with_(
        self,
        noise_cold: float | None = None,
        noise_warm: float | None = None,
        cold_nfe: int | None = None,
    ) -> Start:
        """Return it with what is not None replaced. Raises OfpError for numbers out of range."""
        given = {"noise_cold": noise_cold, "noise_warm": noise_warm, "cold_nfe": cold_nfe}
        made = replace(self, **{key: x for key, x in given.items() if x is not None})  # type: ignore[arg-type]
        if why := made.wrong():
            raise OfpError(f"--{why[0].replace('_', '-')}: {why[1]}.")
        return made

    def wrong(self) -> tuple[str, str] | None:
        """Return the name of a number that is out of range, and expected against got."""
        for name, value in (("noise_cold", self.noise_cold), ("noise_warm", self.noise_warm)):
            if not math.isfinite(value) or not 0 <= value <= LOUDEST:
                return name, f"expected 0 to {LOUDEST:g}, got {value:g}"
        if self.cold_nfe is not None and not 1 <= self.cold_nfe <= MOST_COLD:
            return "cold_nfe", f"expected 1 to {MOST_COLD} evaluations, got {self.cold_nfe}"
        return None

    def require_plain(self) -> None:
        """Raise OfpError, naming the option, for a start that a deterministic policy has not."""
        for name, value in asdict(self).items():
            if value != getattr(Start(), name):
                raise OfpError(without_effect(f"--{name.replace('_', '-')} {value:g}"))

    def cold_steps(self, nfe: int = 1) -> int:
        """Return a cold chunk's evaluations, where another one's are `nfe`."""
        return max(nfe, self.cold_nfe or 1)
