"""Listens to a running control loop and takes the way from camera to action apart.

    exposure -- arrival -- preprocess -- encode -- act -- slot ---- post -- send
    t_obs       read()     prepare()     observe() infer() waits    step()  send()

The loop runs as it always does: the probe is one more place for its telemetry, and hears its marks
(runtime/control/marks.py). Times are nanoseconds of the monotonic clock; nothing is computed before
the end.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

Series = dict[str, NDArray[np.int64]]
LINKS = (
    "exposure to arrival",
    "arrival to preprocess",
    "preprocess",
    "encode",
    "act",
    "wait for the slot",
    "post",
    "send",
)
"""The links of the chain, in order; their sum is "camera to action"."""
BUSY = LINKS[2:5]
"""The links in which the planner works; the first two are a look, with or without a plan."""


class Rows:
    """Whole numbers in rows, in memory that was touched before: a run of hours leaves it as it is.

    Full is full: what comes later is counted, not kept.
    """

    def __init__(self, columns: int, capacity: int = 200_000) -> None:
        self._rows = np.full((capacity, columns), -1, dtype=np.int64)
        self.count = 0

    def add(self, *values: int) -> None:
        """One row."""
        if self.count < len(self._rows):
            self._rows[self.count] = values
        self.count += 1

    def values(self) -> list[list[int]]:
        """What is kept, in order."""
        kept: list[list[int]] = self._rows[: self.count].tolist()
        return kept


class LoopProbe:
    """A Probe, for `open_session`. Only one thread adds to each of its Rows.

    Only a plan's first action is followed: the later ones wait on purpose.
    """

    def __init__(self) -> None:
        # tick, woke, plan that was followed and sent (-1: none), sent, duration of send, of step
        self.commands = Rows(6)
        self.plans, self.encodes, self.arrivals, self.prepared = Rows(2), Rows(2), Rows(2), Rows(3)
        self._step_ns = 0
        self._sent = (0, 0)
        self._began_ns = {"prepare": 0, "step": 0, "send": 0}

    def mark(self, moment: str, of: Any = None) -> None:
        """See Mark."""
        now_ns = time.monotonic_ns()
        if moment in self._began_ns:
            self._began_ns[moment] = now_ns
        elif moment == "frame":
            for stamp_ns in {of.stamp_ns("depth"), of.stamp_ns("color")}:
                self.arrivals.add(stamp_ns, now_ns)
        elif moment == "prepared":
            self.prepared.add(of, self._began_ns["prepare"], now_ns)
        elif moment == "stepped":
            self._step_ns = now_ns - self._began_ns["step"]
        else:
            self._sent = (self._began_ns["send"], now_ns)

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """See Telemetry."""
        if topic == "/command":
            followed = values["t_obs_ns"] if values["sent"] else None
            before_ns, after_ns = self._sent
            self.commands.add(
                values["tick_ns"],
                values["woke_ns"],
                -1 if followed is None else followed,
                after_ns,
                after_ns - before_ns,
                self._step_ns,
            )
        elif topic == "/plan":
            self.plans.add(t_ns, values["ready_ns"])
        elif topic == "/observation":
            self.encodes.add(t_ns, values["observe_ns"])

    def close(self) -> None:
        """See Telemetry."""

    def series(self, from_ns: int) -> Series:
        """Every link, and "capture to ready", "camera to action", "tick late", of what was taken
        from `from_ns` on; (n,) each, in the order of time."""
        found: dict[str, list[int]] = {name: [] for name in LINKS}
        whole, followed = [], -1
        # The first of each: a refining step makes a plan better, not earlier.
        plans = {t: ready for t, ready in reversed(self.plans.values())}
        encodes = {t: duration for t, duration in self.encodes.values()}
        arrivals = {t: arrival for t, arrival in self.arrivals.values()}
        prepared = {t: (before, after) for t, before, after in self.prepared.values()}
        for _, _, t_obs_ns, sent_ns, send_ns, step_ns in self.commands.values():
            if t_obs_ns < 0 or t_obs_ns == followed:
                continue
            followed = t_obs_ns
            if t_obs_ns < from_ns or t_obs_ns not in prepared or t_obs_ns not in plans:
                continue
            # Gap-free: each link ends where the next begins.
            began_ns, prepared_ns = prepared[t_obs_ns]
            arrival_ns = min(arrivals.get(t_obs_ns, began_ns), began_ns)
            encode_ns, ready_ns = encodes.get(t_obs_ns, 0), plans[t_obs_ns]
            links = (
                arrival_ns - t_obs_ns,
                began_ns - arrival_ns,
                prepared_ns - began_ns,
                encode_ns,
                ready_ns - prepared_ns - encode_ns,
                sent_ns - send_ns - step_ns - ready_ns,
                step_ns,
                send_ns,
            )
            for name, value in zip(LINKS, links, strict=True):
                found[name].append(value)
            whole.append(sent_ns - t_obs_ns)
        ready = [plans[t] - t for t in sorted(plans) if t >= from_ns]
        late = [row[1] - row[0] for row in self.commands.values() if row[0] >= from_ns]
        series = {**found, "camera to action": whole, "capture to ready": ready, "tick late": late}
        return {name: np.array(values, dtype=np.int64) for name, values in series.items()}

    def out_of_slot(self, period_ns: int) -> int:
        """Commands whose sending began when the next tick was due, or later."""
        return sum(
            t_obs_ns >= 0 and sent_ns - send_ns - tick_ns >= period_ns
            for tick_ns, _, t_obs_ns, sent_ns, send_ns, _ in self.commands.values()
        )
