"""A watch that looks at a Jetson once a second while something is measured, from a thread of its
own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ofp_edge.runtime.jetson import machine as machines
from ofp_edge.runtime.jetson.identity import identify
from ofp_edge.runtime.jetson.live import Live, look
from ofp_edge.runtime.jetson.machine import Machine

PERIOD_S = 1.0


class Watch:
    """A context manager; afterwards `summary` says what was seen. Reading costs milliseconds."""

    def __init__(self, machine: Machine, period_s: float = PERIOD_S) -> None:
        self._machine, self._period_s = machine, period_s
        self._seen: list[Live] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jetson-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._seen.append(look(self._machine))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._seen.append(look(self._machine))

    def _run(self) -> None:
        mode = self._seen[0].power_mode
        while not self._stop.wait(self._period_s):
            self._seen.append(look(self._machine, power_mode=mode))

    @property
    def summary(self) -> dict[str, Any]:
        """The summary as plain JSON. `throttled` names what throttled at any look, and the counters
        that rose."""
        first, last = self._seen[0], self._seen[-1]
        rose = [n for n, count in last.events.items() if count > first.events.get(n, 0)]
        gpu = [seen.clocks_hz["gpu"]["current"] for seen in self._seen if "gpu" in seen.clocks_hz]
        power = [seen.power_mw for seen in self._seen if seen.power_mw is not None]
        zones = sorted({name for seen in self._seen for name in seen.temperatures_c})
        return {
            "looks": len(self._seen),
            "power_mode": last.power_mode,
            "clocks_locked": last.clocks_locked,
            "gpu_hz": {"min": min(gpu), "max": max(gpu)} if gpu else None,
            "power_mw": {"mean": sum(power) / len(power), "max": max(power)} if power else None,
            "temperature_c": {
                name: max(s.temperatures_c[name] for s in self._seen if name in s.temperatures_c)
                for name in zones
            },
            "swap_used_mib": last.swap_used_mib,
            "throttled": sorted({x for seen in self._seen for x in seen.throttled} | set(rose)),
        }


@contextlib.contextmanager
def watched() -> Iterator[dict[str, Any]]:
    """Yield a dict that holds, once the block has ended, what a Jetson reported; it stays empty
    elsewhere."""
    machine, found = machines.this_machine(), dict[str, Any]()
    jetson = identify(machine)
    if jetson is None:
        yield found
        return
    with Watch(machine) as watch:
        yield found
    found.update(jetson.to_json(), **watch.summary)
