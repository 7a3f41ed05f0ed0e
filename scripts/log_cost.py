"""What a tick's row costs the control thread, the log's thread and the disk, with the numbers that
plotting tools draw and without: one JSON document.

    python scripts/log_cost.py > docs/results/log-cost.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.fields import State
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.runtime.log.numbers import Numbers, names_in
from ofp_edge.runtime.log.telemetry import McapLog
from ofp_edge.spec import ActionField, PolicySpec

ENDS = (-100.0,) * 6, (100.0,) * 6
SPEC = PolicySpec(
    (State("state", (6,), "deg", "base", *ENDS),),
    (ActionField("action", (6,), "deg", "base", "absolute", 1.0, *ENDS),),
    1, 16, 8, 50.0,
)  # fmt: skip
PAUSE_S = 0.002


def row(k: int, rng: np.random.Generator) -> dict[str, Any]:
    """A tick of an arm of six joints."""
    values = rng.normal(size=(3, 6)).astype(np.float32)
    now = k * 20_000_000
    return {
        "tick_ns": now, "woke_ns": now + 80_000, "sent_ns": now + 200_000, "kind": "act",
        "reason": "", "t_obs_ns": now, "index": 2.0, "action": values[0], "wanted": values[1],
        "cut": [], "sent": True, "plan_ordered": False, "misses": 0,
        "heard": [{"event": "state", "t_ns": now, "read_ns": now, "values": {"state": values[2]}}],
    }  # fmt: skip


def measure(numbers: Numbers | None, count: int) -> dict[str, float]:
    """Write so many rows, one every 2 ms, so that the log's thread keeps up."""
    rng = np.random.default_rng(0)
    rows = [row(k, rng) for k in range(count)]
    took = np.empty(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.mcap"
        log = McapLog(path, {}, numbers=numbers)
        spent = [0.0]
        add = log._add

        def timed(item: Any) -> None:
            began = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
            add(item)
            spent[0] += time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) - began

        log._add = timed  # type: ignore[method-assign]
        for k, values in enumerate(rows):
            began = time.perf_counter()
            log.write("/command", values["tick_ns"], **values)
            took[k] = time.perf_counter() - began
            time.sleep(PAUSE_S)
        log.close()
        if log.lost or threading.active_count() > 1:
            sys.exit(f"{log.lost} rows were lost: the machine is too busy to measure on.")
        size = path.stat().st_size
    return {
        "write_us_p50": round(float(np.percentile(took, 50)) * 1e6, 2),
        "write_us_p99": round(float(np.percentile(took, 99)) * 1e6, 2),
        "log_thread_us_a_row": round(spent[0] / count * 1e6, 2),
        "bytes_a_row": round(size / count, 1),
    }


def main() -> None:
    """Measure both in turn, three times, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    count = parser.parse_args().rows
    found: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    for _ in range(3):
        found["without"].append(measure(None, count))
        found["with"].append(measure(Numbers(SPEC, names_in(SPEC, None)), count))
    medians = {
        name: {key: float(np.median([x[key] for x in rounds])) for key in rounds[0]}
        for name, rounds in found.items()
    }
    print(json.dumps({"rows": count, **medians, "fingerprint": fingerprint(1)}))


if __name__ == "__main__":
    main()
