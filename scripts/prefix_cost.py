"""What a committed prefix costs: the engine's `act` with and without, and the host's part of it.

    python scripts/prefix_cost.py PLAIN TOLD [-o FILE]

PLAIN and TOLD are policies of one size that `train` wrote, TOLD with --committed-steps. The two
graphs run in turn in one process, each twice in a row, so their ratio holds on a busy machine;
microseconds are this machine's, and the 5th percentile is the nearest to an idle one's. Prints one
JSON document; docs/results/seam/cost.json is the one behind docs/seam.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.rig.safety import FieldLimits, SafetyEntry
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.ahead import Ahead
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import ChunkReady, PlannerFree, PlanStarted
from ofp_edge.runtime.infer.prefix import PrefixInputs
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.targets.export import export_executorch, export_onnx

_TURNS, _CALLS, _IN_A_ROW = 6000, 10_000, 20
_TICKS = 2000
_QUANTILES = (0.05, 0.25, 0.5)


def _quantiles_us(ns: list[int]) -> dict[str, float]:
    return {f"q{q:g}": round(float(np.quantile(ns, q)) / 1e3, 2) for q in _QUANTILES}


def _timed(call: Callable[[], Any]) -> int:
    before = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - before


def engines(both: dict[str, Deployed]) -> dict[str, Any]:
    """`act` of both in turn, by engine."""
    found = {}
    random = np.random.default_rng(0)
    for engine, export in (("onnxruntime", export_onnx), ("executorch", export_executorch)):
        runners = {}
        for name, deployed in both.items():
            act = deployed.function("act")
            model = export(deployed.act, act.inputs, act.outputs).model
            runners[name] = load_runner(engine, model, act.inputs, act.outputs)
            for array in runners[name].inputs.values():
                array[...] = 0.1 * random.standard_normal(array.shape)
            runners[name].warm_up(50)
        took: dict[str, list[int]] = {name: [] for name in runners}
        for turn in range(_TURNS):
            for name in list(runners)[:: 1 if turn % 2 else -1]:
                took[name].append(_timed(runners[name].infer))
        us = {name: _quantiles_us(ns) for name, ns in took.items()}
        ratio = {q: round(us["told"][q] / us["plain"][q], 3) for q in us["told"]}
        found[engine] = {**us, "ratio": ratio}
    return found


def host(told: Deployed) -> dict[str, Any]:
    """A plan's part: reading what is commanded, the network's scale, both inputs, and z; and what
    the state machine foresees. `without`: the clock alone, which is in every figure."""
    spec, committed, act = told.spec, told.committed, told.function("act")
    if committed is None:
        raise SystemExit("TOLD was not trained with --committed-steps")
    runner = load_runner(
        "onnxruntime", export_onnx(told.act, act.inputs, act.outputs).model, act.inputs, act.outputs
    )
    prefix = PrefixInputs(runner, spec, committed)
    commands = np.full((2 * spec.plan_steps, spec.action_dim), 0.1, np.float32)
    sent = Chunk(0, spec.dt_ns, commands, commands)
    ahead = Ahead(sent, committed.steps * spec.dt_ns, np.zeros(spec.action_dim, np.bool_))
    t_obs_ns = 3 * spec.dt_ns
    raw = ahead.committed(t_obs_ns)
    normalised = prefix.normalised(raw)

    def plan() -> None:
        prefix.write(prefix.normalised(ahead.committed(t_obs_ns)))
        prefix.put_into_z()

    field = spec.actions[0].name
    limits = FieldLimits(max_velocity=1.0, max_acceleration=50.0, max_jerk=5000.0)
    parts: dict[str, Callable[[], Any]] = {
        "without": lambda: None,
        "read": lambda: ahead.committed(t_obs_ns),
        "scale": lambda: prefix.normalised(raw),
        "write": lambda: prefix.write(normalised),
        "put into z": prefix.put_into_z,
        "a plan: all four": plan,
    }
    took: dict[str, list[int]] = {name: [] for name in parts}
    for _ in range(_CALLS // _IN_A_ROW):
        for name, call in parts.items():
            took[name] += [_timed(call) for _ in range(_IN_A_ROW)]
    found = {
        **{name: _quantiles_us(ns) for name, ns in took.items()},
        "foresee": _quantiles_us(_foreseen(told, None, 0)),
        "foresee within limits, faded": _quantiles_us(
            _foreseen(told, SafetyEntry(limits={field: limits}), 2)
        ),
    }
    return found


def _foreseen(told: Deployed, entry: SafetyEntry | None, fade: int) -> list[int]:
    spec, dt_ns = told.spec, told.spec.dt_ns
    latency_ns = (spec.plan_steps - spec.n_action_steps) // 2 * dt_ns
    safety = None if entry is None else SafetyLayer(spec, entry)
    oldest_ns = spec.plan_steps * dt_ns
    controller = Controller(
        spec, latency_ns, oldest_ns, fade_steps=fade, safety=safety, committed=True
    )
    random, took = np.random.default_rng(0), []
    heard: list[Any] = []
    for tick in range(_TICKS):
        now_ns = tick * dt_ns
        order = controller.step(now_ns, heard).order
        heard = []
        if order is not None:
            if order.plan:
                took.append(_timed(lambda o=order: controller.completed(o)))  # type: ignore[misc]
                actions = 0.1 * random.standard_normal((spec.plan_steps, spec.action_dim))
                plan = actions.astype(np.float32)
                heard = [PlanStarted(now_ns, now_ns), ChunkReady(Chunk(now_ns, dt_ns, plan, plan))]
            heard.append(PlannerFree())
    return took


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plain", type=Path)
    parser.add_argument("told", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=None)
    given = parser.parse_args()
    policies = {"plain": load_policy(given.plain), "told": load_policy(given.told)}
    both = {name: deploy(policy) for name, policy in policies.items()}
    document = {
        "parameters": {name: x.network.parameter_count for name, x in policies.items()},
        "load_1min": round(os.getloadavg()[0], 1),
        "engines_us": engines(both),
        "host_us": host(both["told"]),
    }
    text = json.dumps(document, indent=1)
    print(text)
    if given.output is not None:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
