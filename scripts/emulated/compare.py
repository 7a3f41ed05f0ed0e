"""Runs a bundle's golden inputs through every engine and precision, and keeps or compares answers.

    python compare.py write   ANSWERS BUNDLE...     on the machine that compiled
    python compare.py compare ANSWERS BUNDLE...     on the other one: prints a JSON line a pair

Each pair is first held against torch's golden outputs, as at every load; an answer out of tolerance
ends the comparison with an error. Then the answers are compared bit by bit with those kept.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.runtime.runners.check import GoldenRun
from ofp_edge.runtime.runners.table import engine_of

Answers = dict[str, NDArray[np.float32]]


def answers(bundle: Bundle, engine: str, precision: str) -> tuple[Answers, dict[str, float]]:
    """By "function/output"; and the worst share of its tolerance that any output used."""
    runners, worsts = engine_of(engine).load_checked(bundle, precision)
    run = GoldenRun(bundle.manifest.functions, runners, bundle.golden())
    found, used = {}, {}
    for function, worst in worsts.items():
        tolerance = bundle.artefact(function, engine, precision).tolerance
        for name, values in run.answers(function).items():
            found[f"{function}/{name}"] = values
            used[f"{function}/{name}"] = worst[name] / max(tolerance[name])
    for runner in runners.values():
        runner.close()
    return found, used


def float_layers(bundle: Bundle) -> list[str]:
    """Layers that int8 leaves in float: there machines may add in another order."""
    if all(x.file != "quantization.json" for x in bundle.manifest.files):
        return []
    plan = json.loads(bundle.read("quantization.json"))
    return [x["name"] for x in plan["layers"] if x["precision"] == "fp32"]


def rows(kept: Any, paths: list[Path]) -> Iterator[dict[str, Any]]:
    """One row an engine and precision of each bundle."""
    for path in paths:
        bundle = open_bundle(path)
        for engine, precision in bundle.engines():
            if not engine_of(engine).installed():
                raise SystemExit(f"{engine} is not installed")
            began = time.perf_counter()
            found, used = answers(bundle, engine, precision)
            far, equal, count = 0.0, 0, 0
            for name, values in found.items():
                other = kept[f"{path.name}/{engine}/{precision}/{name}"]
                count += values.size
                equal += int((values.view(np.uint32) == other.view(np.uint32)).sum())
                far = max(far, float(np.abs(values - other).max()))
            yield {
                "bundle": path.name, "engine": engine, "precision": precision,
                "machine": platform.machine(), "python": platform.python_version(),
                "values": count, "bit_equal": equal, "largest_difference": far,
                "tolerance_used": max(used.values()),
                "reason": None if equal == count else (
                    "float sums in another order" if precision == "fp32" else
                    "its layers in float add in another order: " + ", ".join(float_layers(bundle))
                ),
                "seconds": round(time.perf_counter() - began, 1),
            }  # fmt: skip


def main() -> None:
    """See the module."""
    mode, file, *names = sys.argv[1:]
    paths = [Path(name) for name in names]
    if mode == "write":
        kept: dict[str, Any] = {}
        for path in paths:
            bundle = open_bundle(path)
            for engine, precision in bundle.engines():
                for name, values in answers(bundle, engine, precision)[0].items():
                    kept[f"{path.name}/{engine}/{precision}/{name}"] = values
        np.savez(file, **kept)
        return
    with np.load(file, allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    for row in rows(kept, paths):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
