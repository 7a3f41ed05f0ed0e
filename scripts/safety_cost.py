"""What the safety layer costs a tick, of several working trees side by side.

    git worktree add /tmp/before HEAD~1
    python scripts/safety_cost.py /tmp/before . --rounds 8

Each round measures every tree in a process of its own, in turns; the figure is the median of the
rounds' medians in microseconds, beside the lowest. "calm": commands within every limit; "wild":
each one is cut by most of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

TICKS, REPEATS, DT_NS = 400, 3, 50_000_000


def measure() -> dict[str, float]:
    """Median microseconds of measured, trouble and check together, by rig and commands."""
    from ofp_edge.fields import State
    from ofp_edge.rig.safety import FieldLimits, SafetyEntry, Workspace
    from ofp_edge.runtime.robot import RobotState
    from ofp_edge.runtime.safety.layer import SafetyLayer
    from ofp_edge.spec import ActionField, PolicySpec

    ends = (-1.0,) * 3, (1.0,) * 3
    delta = ActionField("hand", (3,), "m", "base", "delta", 0.01, *ends, 0.0)
    hand = ActionField("hand", (3,), "m", "base", "absolute", 1.0, *ends)
    grip = ActionField("grip", (1,), "1", "base", "absolute", 1.0, (-1.0,), (1.0,), None, "nearest")
    joints = ActionField("joint", (7,), "rad", "base", "absolute", 1.0, (-3.0,) * 7, (3.0,) * 7)
    every = FieldLimits(
        "state", position_low=(-0.9,) * 3, position_high=(0.9,) * 3, max_velocity=0.25,
        max_acceleration=2.0, max_jerk=40.0, max_lead=0.05, max_first_step=5.0,
    )  # fmt: skip
    some = FieldLimits("state", max_velocity=1.0, max_acceleration=4.0, max_lead=0.3)
    box = Workspace("state", (-2.0,) * 3, (2.0,) * 3)
    cases = {
        "a hand by deltas, no entry": ((delta, grip), SafetyEntry()),
        "a hand, every entry": ((hand, grip), SafetyEntry(limits={"hand": every}, workspace=box)),
        "seven joints, three limits": ((joints,), SafetyEntry(limits={"joint": some})),
        "seven joints, no entry": ((joints,), SafetyEntry()),
    }
    found = {}
    gc.disable()
    for name, (actions, entry) in cases.items():
        size = sum(field.shape[0] for field in actions)
        state = State("state", (size,), "m", "base", (-9.0,) * size, (9.0,) * size)
        layer = SafetyLayer(PolicySpec((state,), actions, 1, 8, 4, 1e9 / DT_NS), entry)
        calm = np.tile(0.05 * np.sin(np.arange(TICKS) * 0.02)[:, None], size)
        wild = np.random.default_rng(0).uniform(-0.8, 0.8, (TICKS, size))
        for what, wanted in (("calm", calm), ("wild", wild)):
            times_ns = []
            for _ in range(REPEATS):
                layer.forget()
                place = np.zeros(size, np.float32)
                for k, action in enumerate(wanted.astype(np.float32)):
                    said = RobotState(k * DT_NS, {"state": place.copy()})
                    layer._cut_in_a_row = 0  # a stop would end the measurement
                    began_ns = time.perf_counter_ns()
                    layer.measured(said)
                    layer.trouble(k * DT_NS)
                    checked = layer.check(action, holding=False)
                    times_ns.append(time.perf_counter_ns() - began_ns)
                    if actions[0].kind == "absolute":
                        place = checked.action
            found[f"{name}, {what}"] = statistics.median(times_ns) / 1e3
    return found


def main() -> None:
    """Measure every tree in turns and print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("trees", nargs="*", type=Path, default=[Path()])
    parser.add_argument("--rounds", type=int, default=8, help="processes a tree (default 8)")
    given = parser.parse_args()
    found: list[dict[str, list[float]]] = [{} for _ in given.trees]
    for number in range(given.rounds):
        turn = list(enumerate(given.trees))
        for i, tree in turn if number % 2 else reversed(turn):
            done = subprocess.run(
                [sys.executable, __file__, "--one"], check=True, stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(tree.resolve())},
            )  # fmt: skip
            for name, value in json.loads(done.stdout).items():
                found[i].setdefault(name, []).append(value)
    for name in found[0]:
        figures = (f"{statistics.median(x[name]):7.1f} ({min(x[name]):.1f})" for x in found)
        print(f"{name:36}", *figures, "us a tick: median (lowest), a tree a column")


if __name__ == "__main__":
    if "--one" in sys.argv:
        print(json.dumps(measure()))
    else:
        main()
