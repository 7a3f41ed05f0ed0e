"""A loop's input and output: when a run ends, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field

from ofp_edge.runtime.samples import Samples


@dataclass(frozen=True)
class Limits:
    """The end of a run: `duration_s` after its first tick (None: never), or after `episodes`.

    seed: episode k of a robot that can be reset starts from seed + k.
    """

    duration_s: float | None = 60.0
    episodes: int | None = None
    dry_run: bool = False
    seed: int = 0


@dataclass
class RunReport:
    """The record of a run. `successes` holds one entry per finished episode.

    skipped_ticks: ticks that had passed before the thread woke up. late_sends: commands that were
    not sent, as their slot had passed. slow_sends: `send` ended after its slot. stop_trouble: why
    the robot did not take its stop. tick_late_ns: wake-up after the tick's nominal time.
    capture_to_ready_ns: age of the observation when its chunk was ready. instructions: what the
    policy was told during the run; refused_instructions: messages that were none of its list.
    """

    stopped_because: str = ""
    fault: str | None = None
    seconds: float = 0.0
    skipped_ticks: int = 0
    late_sends: int = 0
    slow_sends: int = 0
    stop_trouble: str = ""
    refused_instructions: int = 0
    successes: list[bool] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    tick_late_ns: Samples = field(default_factory=Samples)
    capture_to_ready_ns: Samples = field(default_factory=Samples)
