"""What a training step costs, each method against flow, for each preset. Prints one JSON document.

    python scripts/training_cost.py DATASET --presets small unet transformer --steps 40 --rounds 3
    python scripts/training_cost.py DATASET --presets small --methods flow ofp-plus:jump_every=1

A method may have options, NAME=VALUE with commas between, behind a colon.
One torch thread and processor time; every method trains so many steps from start to end, so what
begins late has its share. Methods take turns; medians over the rounds. Memory: the most that a
process of its own held, and what it held before the first step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ofp_edge.report.fingerprint import fingerprint

METHODS = ("flow", "ofp-plus", "ofp", "meanflow", "diffusion")


def measure(dataset: Path, preset: str, method: str, steps: int) -> dict[str, float]:
    """One training in this process."""
    import torch

    from ofp_edge.bench.work import memory_mib, seconds_a_step
    from ofp_edge.train.request import Request

    torch.set_num_threads(1)
    before = memory_mib("VmRSS")
    name, _, more = method.partition(":")
    options = {key: float(x) for key, x in (o.split("=") for o in more.split(",") if more)}
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            dataset, Path(folder) / "p", name, preset, seed=0, steps=steps, options=options or None
        )
        seconds = seconds_a_step(request)
    return {"s_per_step": seconds, "before_mib": before, "peak_mib": memory_mib("VmHWM")}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--presets", nargs="+", required=True)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.steps < 40:
        parser.error(
            f"--steps {given.steps}: expected 40 or more; the first and last tens are not used."
        )
    rows: list[dict[str, Any]] = []
    for preset in given.presets:
        found: dict[str, list[dict[str, float]]] = {method: [] for method in given.methods}
        for _ in range(given.rounds):
            for method in given.methods:
                # A process of its own, so that memory is its own.
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    asked = pool.submit(measure, given.dataset, preset, method, given.steps)
                    found[method].append(asked.result())
        flow = statistics.median(x["s_per_step"] for x in found["flow"])
        for method, runs in found.items():
            seconds = statistics.median(x["s_per_step"] for x in runs)
            peak, before = (
                statistics.median(x[key] for x in runs) for key in ("peak_mib", "before_mib")
            )
            rows.append({
                "preset": preset, "method": method, "cpu_s_per_step": round(seconds, 5),
                "of_flow": round(seconds / flow, 2), "peak_mib": peak,
                "since_import_mib": round(peak - before, 1),
            })  # fmt: skip
    print(json.dumps({
        "dataset": given.dataset.name, "steps": given.steps, "rounds": given.rounds,
        "threads": 1, "rows": rows, "fingerprint": fingerprint(1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
