"""The way an artefact is to be run in an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.runtime.infer.guard import check_guard
from ofp_edge.start import WARM_STEPS, Start


@dataclass(frozen=True)
class Choice:
    """The options of a run. None takes the artefact's own default.

    nfe: network evaluations a chunk; by default 1, or what its method needs. t_w: time of the warm
    start, 0..1. cold: never start warm. t_refine: the second evaluation re-noises the first one's
    answer to this time, 0..1; of a policy folder, in place of nfe. guard: noises that a cold start
    chooses among, 1 or 3 and more (else OfpError). if_time: one evaluation, and a
    bundle's refining one where there is time for it. noise_cold, noise_warm, cold_nfe: see Start.
    warm_step: "jump" or "mean", see start.WARM_STEPS.
    committed: whether a policy that can be told what is committed of its chunk is told. OfpError
    for times outside 0..1, and where cold is given with one of a warm start's.
    """

    nfe: int | None = None
    engine: str | None = None
    precision: str | None = None
    t_w: float | None = None
    cold: bool = False
    t_refine: float | None = None
    guard: int = 1
    if_time: bool = False
    noise_cold: float | None = None
    noise_warm: float | None = None
    cold_nfe: int | None = None
    committed: bool = True
    warm_step: str | None = None

    def __post_init__(self) -> None:
        check_guard(self.guard)
        if self.cold and self.t_w is not None:
            raise OfpError("--cold and --t-w exclude each other.")
        if self.warm_step not in (None, *WARM_STEPS):
            raise UnknownName("--warm-step", str(self.warm_step), WARM_STEPS)
        if self.cold and self.warm_step is not None:
            raise OfpError("--cold and --warm-step exclude each other.")
        for name, t in (("t_w", self.t_w), ("t_refine", self.t_refine)):
            if t is not None and not 0 <= t < 1:
                raise OfpError(f"--{name.replace('_', '-')} {t:g}: expected 0 <= {name} < 1.")
        self.start(Start())

    def start(self, own: Start) -> Start:
        """Return the artefact's own start with what is chosen."""
        return own.with_(self.noise_cold, self.noise_warm, self.cold_nfe)
