"""The table [timing] of a rig: when plans act, how long they are followed, how they are joined."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ofp_edge.errors import RigError
from ofp_edge.rig.horizon import longest_latency_ns, plan_ages_ns
from ofp_edge.spec import PolicySpec
from ofp_edge.toml import Table

MOST_CROSS_FADE_STEPS = 5


@dataclass(frozen=True)
class Timing:
    """[timing]: the constant latency L, the age past which a plan is no longer followed, over how
    many control steps one plan fades into the next (None: the two plans' overlap, at most 5,
    and 0 where plans are told what is committed), how
    far apart the frames of one observation may have been taken, the latency of an episode's first
    plan (None: L), and how long after its command the robot moves: a command is the plan's action
    of so much later."""

    latency_ms: float
    max_plan_age_ms: float
    cross_fade_steps: int | None = None
    max_skew_ms: float = 100.0
    cold_latency_ms: float | None = None
    actuation_delay_ms: float = 0.0

    @property
    def delay_ns(self) -> int:
        """Return the robot's own delay in nanoseconds."""
        return round(self.actuation_delay_ms * 1e6)

    @property
    def cold_ms(self) -> float:
        """Return the latency of an episode's first plan."""
        return self.latency_ms if self.cold_latency_ms is None else self.cold_latency_ms

    def fade_steps(self, spec: PolicySpec, *, committed: bool = False) -> int:
        """Return cross_fade_steps, or its default: what is left of the old plan when the next one
        takes over, at most 5 steps. committed: whether plans are told what is committed; they go on
        from it, so by default none fades."""
        if self.cross_fade_steps is not None:
            return self.cross_fade_steps
        if committed:
            return 0
        passed = (self.latency_ms + self.actuation_delay_ms) / 1000 / spec.dt_s
        overlap = spec.plan_steps - spec.n_action_steps - math.ceil(passed - 1e-9)
        return max(0, min(MOST_CROSS_FADE_STEPS, overlap))

    def require_fits(self, spec: PolicySpec, path: Path) -> None:
        """Raise RigError, one line, where a policy's plans are too short for these times."""
        delay_ms, delay_ns = self.actuation_delay_ms, self.delay_ns
        whole_ns, limit_ns = longest_latency_ns(spec), longest_latency_ns(spec, delay_ns)
        why = (
            f"horizon {spec.plan_steps} - n_action_steps {spec.n_action_steps} at "
            f"{spec.control_hz:g} Hz"
        )
        if delay_ns > whole_ns:
            raise RigError(
                f"{path}: [timing] actuation_delay_ms: expected at most {whole_ns / 1e6:g} ms "
                f"({why}), got {delay_ms:g} ms."
            )
        less = f" - actuation_delay_ms {delay_ms:g}" if delay_ms else ""
        times = {"latency_ms": self.latency_ms, "cold_latency_ms": self.cold_ms}
        for name, value in times.items():
            if round(value * 1e6) > limit_ns:
                raise RigError(
                    f"{path}: [timing] {name}: expected at most {limit_ns / 1e6:g} ms "
                    f"({why}{less}), got {value:g} ms."
                )
        if self.cold_ms < self.latency_ms:
            raise RigError(
                f"{path}: [timing] cold_latency_ms: expected latency_ms = "
                f"{self.latency_ms:g} at least, got {self.cold_ms:g}."
            )
        _, oldest_ns = plan_ages_ns(spec, round(self.latency_ms * 1e6), delay_ns)
        if round(self.max_plan_age_ms * 1e6) > oldest_ns:
            raise RigError(
                f"{path}: [timing] max_plan_age_ms: expected at most {oldest_ns / 1e6:g} ms (a "
                f"plan of {spec.plan_steps} steps{less}), got {self.max_plan_age_ms:g} ms."
            )
        if self.fade_steps(spec) >= spec.plan_steps:
            raise RigError(
                f"{path}: [timing] cross_fade_steps: expected 0..{spec.plan_steps - 1} (less "
                f"than horizon), got {self.cross_fade_steps}."
            )


def read_timing(timing: Table) -> Timing:
    """Take the entries of [timing]. Raises RigError naming the one that is wrong."""
    fade = (
        timing.count("cross_fade_steps", least=0) if "cross_fade_steps" in timing.values else None
    )
    return Timing(
        timing.positive("latency_ms", allow_zero=True),
        timing.positive("max_plan_age_ms"),
        fade,
        timing.positive("max_skew_ms", default=100.0),
        timing.positive("cold_latency_ms") if "cold_latency_ms" in timing.values else None,
        timing.positive("actuation_delay_ms", 0.0, allow_zero=True),
    )
