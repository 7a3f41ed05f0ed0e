"""[realtime] of a rig: where and how the control thread runs under `run --realtime`.

[realtime]                  # all optional
priority = 80               # SCHED_FIFO of the control thread, 1..99
cpu = 3                     # its core, kept free of the other threads; default: an isolated
                            # one if there is any, else the last that may be used
wakeup_budget_us = 1000.0   # run --require-realtime refuses when waking up takes longer;
                            # default: a twentieth of the control period
"""

from __future__ import annotations

from dataclasses import dataclass

from ofp_edge.toml import Table

HIGHEST_PRIORITY = 99


@dataclass(frozen=True)
class RealtimeEntry:
    """[realtime]; an entry that is None is chosen by machine or control period."""

    priority: int = 80
    cpu: int | None = None
    wakeup_budget_us: float | None = None


def read_realtime(table: Table) -> RealtimeEntry:
    """Parse the table. Raises RigError naming the entry that is wrong."""
    priority = table.count("priority", 80)
    if priority > HIGHEST_PRIORITY:
        raise table.error(
            f"{table.path}: {table.where('priority')}: expected 1..{HIGHEST_PRIORITY}, "
            f"got {priority}."
        )
    cpu = table.count("cpu", least=0) if "cpu" in table.values else None
    budget = table.positive("wakeup_budget_us") if "wakeup_budget_us" in table.values else None
    table.nothing_left()
    return RealtimeEntry(priority, cpu, budget)
