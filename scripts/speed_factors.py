"""Where one step's speed comes from: fewer evaluations, and the engine. Prints one JSON document.

    python scripts/speed_factors.py POLICY BUNDLE --rounds 40

Every chunk is one frame encoded and `nfe` evaluations of the same trunk: 100 against 1 in the same
engine, then torch eager against the engine at 1. One thread, engines in turn within each round,
medians over the rounds; a ratio compares figures of the same rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofp_edge.bundle import open_bundle
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.infer.sampler import Scheme, Step

MANY = 100


def chunk_maker(inference: Inference, nfe: int) -> Callable[[], float]:
    """A function that makes a cold chunk from a new frame, and says how many ms that took."""
    cold = inference.scheme.cold[0]
    made = Inference(
        inference.spec, inference.functions, inference.runners, [], 0,
        scheme=Scheme(tuple(Step(cold.row) for _ in range(nfe)), None),
    )  # fmt: skip
    random = np.random.default_rng(0)
    seen = {
        f.name: random.uniform(0.1, 0.2, f.shape).astype(np.float32) for f in made.spec.observations
    }
    clock = [0]

    def make() -> float:
        clock[0] += made.spec.dt_ns
        before = time.perf_counter()
        made.observe(clock[0], seen)
        made.infer(clock[0])
        return 1e3 * (time.perf_counter() - before)

    return make


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)

    bundle = open_bundle(given.bundle)
    eager = open_contestant(given.policy, Choice(precision="fp32", cold=True))
    inferences = {"torch eager fp32": eager.inferences[0]}
    for engine, precision in sorted({(a.engine, a.precision) for a in bundle.manifest.artefacts}):
        inferences[f"{engine} {precision}"] = load_inference(bundle, engine, precision)
    makers = {
        (name, nfe): chunk_maker(inference, nfe)
        for name, inference in inferences.items()
        for nfe in (1, MANY)
    }
    found: dict[tuple[str, int], list[float]] = {key: [] for key in makers}
    for lap in range(given.rounds + 2):
        for key, make in makers.items():
            # As many of the short as fit beside a long one would be unfair to the long: a few.
            ms = statistics.median(make() for _ in range(5 if key[1] == 1 else 1))
            if lap >= 2:
                found[key].append(ms)
    median = {key: statistics.median(values) for key, values in found.items()}
    rows: list[dict[str, Any]] = [
        {
            "engine": name,
            "ms_1": round(median[name, 1], 4),
            f"ms_{MANY}": round(median[name, MANY], 3),
            "factor_evaluations": round(median[name, MANY] / median[name, 1], 1),
            "factor_engine": round(median["torch eager fp32", 1] / median[name, 1], 2),
            "product": round(median["torch eager fp32", MANY] / median[name, 1], 1),
        }
        for name in inferences
    ]
    print(json.dumps({
        "preset": bundle.manifest.provenance.get("preset"), "threads": 1, "rounds": given.rounds,
        "note": "observation encoded once in every figure; factor_engine: torch eager over the "
        "engine, 1 evaluation each; product: torch eager with 100 over the engine with 1",
        "rows": rows, "fingerprint": fingerprint(1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
