"""What each recipe costs and loses on each CPU engine. Prints one JSON document.

    python scripts/recipe_costs.py WORK --rounds 400

WORK holds what scripts/recipes makes: quantised policies `int8` and `mixed`, their bundles for each
target (`int8-host` ...), and `gated`, the first policy with its gate. Times are of one `encode` and
one `act` after each other, one thread, everything in turn within each round. Errors are of each
engine's own chunks against float torch, on the held-out windows beside the plan.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.calibration.samples import FILE as SAMPLES
from ofp_edge.calibration.samples import read_samples
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.chunk_errors import action_errors
from ofp_edge.quantize.gate import read_gate
from ofp_edge.quantize.inputs import act_inputs, encode_inputs
from ofp_edge.quantize.plan import read_plan
from ofp_edge.quantize.recipes import recipe
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.runtime.runners import Runner
from ofp_edge.runtime.runners.table import engine_of
from ofp_edge.targets.agreement import engine_chunks, torch_chunks
from ofp_edge.targets.registry import target, unfit_reason

RECIPES = ("int8", "mixed")
CPU_TARGETS = ("arm-cpu", "host")
CALLS = 5  # of each in a round, so that a cold cache does not make the figure

Pair = dict[str, Runner]


def open_pair(bundle: Bundle, engine: str, precision: str) -> tuple[Pair, int]:
    """Both functions on one engine, and the bytes of their programs."""
    pair = engine_of(engine).load(bundle, precision)
    return pair, sum(bundle.artefact(name, engine, precision).size for name in pair)


def time_in_turns(pairs: dict[Any, Pair], rounds: int) -> dict[Any, NDArray[np.float64]]:
    """Milliseconds of each call of each pair, (rounds * CALLS,)."""
    found: dict[Any, list[float]] = {key: [] for key in pairs}
    for pair in pairs.values():
        for runner in pair.values():
            runner.warm_up()
    for _ in range(rounds):
        for key, pair in pairs.items():
            encode, act = pair["encode"], pair["act"]
            for _ in range(CALLS):
                before = time.perf_counter()
                encode.infer()
                act.infer()
                found[key].append(1e3 * (time.perf_counter() - before))
    return {key: np.asarray(values) for key, values in found.items()}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rounds", type=int, default=400)
    given = parser.parse_args()
    torch.set_num_threads(1)

    policy = load_policy(given.work / RECIPES[0])
    deployed = deploy(policy)
    spec, plans = deployed.spec, {name: read_plan(given.work / name) for name in RECIPES}
    pairs: dict[tuple[str, str, str], Pair] = {}
    sizes: dict[tuple[str, str, str], int] = {}
    for folder in sorted(given.work.glob("*-*")):
        of, bundle = folder.name.partition("-")[0], open_bundle(folder)
        name = bundle.manifest.target
        for engine, precision in bundle.engines():
            made_by = of if precision == "int8" else precision
            key = name, engine, made_by
            if not engine_of(engine).on_device and key not in pairs:
                pairs[key], sizes[key] = open_pair(bundle, engine, precision)
    windows = read_samples(given.work / RECIPES[0] / SAMPLES, spec).held_out
    frames = encode_inputs(deployed, windows)
    calls = [values for _, values in act_inputs(deployed, windows, 0)]
    exact = torch_chunks(deployed.modules, frames, calls)
    rows = []
    times = time_in_turns(pairs, given.rounds)
    for key in sorted(pairs):
        name, engine, of = key
        plan = plans.get(of) or plans[RECIPES[0]]
        assert plan is not None
        difference = engine_chunks(deployed, pairs[key], frames, calls) - exact
        errors = action_errors(spec, difference, plan.error_budget_percent)
        worst = max(errors, key=lambda e: e.mean / e.budget)
        own, base = (np.percentile(times[k], [50, 99]) for k in (key, (name, engine, "fp32")))
        rows.append({
            "target": name, "engine": engine, "recipe": of, "bytes": sizes[key],
            "ms_p50": own[0], "ms_p99": own[1], "of_fp32_p50": own[0] / base[0],
            "of_fp32_p99": own[1] / base[1], "worst": worst.name, "unit": worst.unit,
            "mean": worst.mean, "max": worst.max, "budget": worst.budget,
        })  # fmt: skip
    gate = read_gate(given.work / "gated")
    print(json.dumps({
        "task": policy.config.task, "preset": policy.config.preset,
        "errors_on": f"{len(windows)} windows of {len(set(windows.episode.tolist()))} held-out "
        "episodes, cold, warm and refining",
        "rounds": given.rounds, "calls_a_round": CALLS,
        "float_macs_percent": {n: p.float_macs_percent for n, p in plans.items() if p},
        "error_budget_percent": {n: p.error_budget_percent for n, p in plans.items() if p},
        "float_layers": {
            n: [f"{x.function}.{x.name}" for x in p.layers if x.precision == "fp32"]
            for n, p in plans.items() if p
        },
        "no_fp16": {n: unfit_reason(target(n), recipe("fp16")) for n in CPU_TARGETS},
        "rows": rows,
        "gate": None if gate is None else [
            {"name": c.name, "passed": c.passed, "says": c.says, "figures": c.figures}
            for c in gate.checks
        ],
        "fingerprint": fingerprint(1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
