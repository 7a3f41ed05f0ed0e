"""Chunk hand-over against naive switching, in the simulator, on the same seeds.

    python scripts/chunk_handover.py POLICY TASK -o docs/results/chunk-handover.json

naive: every plan from fresh noise, switched to at t_obs + L. fade: the same plans, cross-faded.
warm: each plan from the last one, shifted. warm + fade: both, what `run` does.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge import __version__
from ofp_edge.evaluate.closed_loop import (
    Choice,
    Episode,
    Job,
    evaluation_seeds,
    run_episodes,
)
from ofp_edge.evaluate.intervals import wilson_interval
from ofp_edge.files import write_json


def arm(episodes: list[Episode]) -> dict[str, Any]:
    """Means over episodes, with the standard error of each."""
    values: dict[str, Any] = {"success": sum(e.success for e in episodes) / len(episodes)}
    values["interval"] = list(wilson_interval(sum(e.success for e in episodes), len(episodes)))
    values["mean_steps"] = float(np.mean([e.steps for e in episodes]))
    for name in ("jump", "jerk"):
        every = np.array([x for e in episodes if (x := getattr(e, name)) is not None])
        values[name] = float(every.mean())
        values[f"{name}_standard_error"] = float(every.std(ddof=1) / len(every) ** 0.5)
    values["faults"] = sum(bool(e.fault) for e in episodes)
    return values


def main() -> None:
    """Run the four arms and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path)
    parser.add_argument("task")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--fade-steps", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    seeds = evaluation_seeds(0, options.episodes)
    began, arms = time.monotonic(), {}
    for name, cold, fade in (
        ("naive", True, 0), ("fade", True, options.fade_steps),
        ("warm", False, 0), ("warm + fade", False, options.fade_steps),
    ):  # fmt: skip
        job = Job(options.policy, options.task, Choice(cold=cold), options.latency_ms,
                  fade_steps=fade)  # fmt: skip
        arms[name] = arm(run_episodes(job, seeds, workers=options.workers))
        print(name, arms[name], flush=True)
    naive, best = arms["naive"], arms["warm + fade"]
    document = {
        "command": f"python scripts/chunk_handover.py {options.policy} {options.task} "
        f"--episodes {options.episodes} --latency-ms {options.latency_ms:g} "
        f"--fade-steps {options.fade_steps}",
        "ofp_edge": __version__, "task": options.task, "episodes": options.episodes,
        "latency_ms": options.latency_ms, "fade_steps": options.fade_steps, "arms": arms,
        "jump_of_naive": best["jump"] / naive["jump"],
        "jerk_of_naive": best["jerk"] / naive["jerk"],
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    write_json(options.output, document)


if __name__ == "__main__":
    main()
