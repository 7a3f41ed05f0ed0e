"""`run --realtime`: the kernel's settings around a session, said and reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape

from ofp_edge.runtime.kernel.realtime import Setting, enter, prepare
from ofp_edge.runtime.kernel.wakeup import BUDGET_SHARE, WakeUps, measure_wakeups, require_floor
from ofp_edge.runtime.run_files import RunFiles

_MEASURED_S = 2.0


class Realtime:
    """Made before the session is opened, so that its threads inherit what is to be inherited.

    require: refuse (CheckFailed) when a setting fails, or when waking up takes longer than the
    rig's wakeup_budget_us, before the robot has moved.
    """

    def __init__(self, log: Console, *, wanted: bool, require: bool) -> None:
        self._log, self._wanted, self._require = log, wanted, require
        self.settings: list[Setting] = prepare() if wanted else []
        self.wakeups: WakeUps | None = None

    def beginning(self, files: RunFiles) -> Callable[[], None] | None:
        """What the loop's own thread calls to enter real time when everything else is running."""
        if not self._wanted:
            return None
        entry = files.rig.realtime
        budget_us = entry.wakeup_budget_us or BUDGET_SHARE * files.bundle.spec.dt_ns / 1e3

        def begin() -> None:
            self.settings += enter(entry)
            for setting in self.settings:
                colour, word = ("green", "set") if setting.ok else ("yellow", "not set")
                line = f"[{colour}]{word}:[/] {setting.name}: {escape(setting.detail)}"
                self._log.print(line, soft_wrap=True)
                if setting.remedy:
                    self._log.print(f"  {escape(setting.remedy)}", soft_wrap=True)
            if self._require:
                self.wakeups = measure_wakeups(_MEASURED_S)
                require_floor(self.settings, self.wakeups, budget_us)

        return begin

    def to_json(self) -> dict[str, Any]:
        """For the run's document."""
        return {
            "realtime": [setting.to_json() for setting in self.settings],
            "wakeup_us": None if self.wakeups is None else self.wakeups.to_json(),
        }
