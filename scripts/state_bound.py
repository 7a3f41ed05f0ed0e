"""What cutting off the state is worth: policies evaluated with several bounds. Prints JSON.

    python scripts/state_bound.py POLICY... [--bounds 0,3,2,1.5,1.1] [--episodes 100]

Each policy of `train` is copied with another `state_bound` (half-ranges; 0 cuts nothing off) and
run over the same unseen episodes, in one evaluation a chunk. A bound changes no training: within
the training episodes no number is beyond 1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import Job, evaluation_seeds, run_jobs
from ofp_edge.evaluate.report import outcome
from ofp_edge.policy.folder import load_policy, save_policy
from ofp_edge.policy.network_config import NetworkConfig


def measure(path: Path, bounds: Sequence[float], episodes: int) -> list[dict[str, Any]]:
    """Success, and jumps between chunks in half ranges of the actions, with each bound."""
    policy = load_policy(path)
    config, network = policy.config, policy.config.network
    if not isinstance(network, NetworkConfig) or config.task is None:
        raise SystemExit(f"{path}: expected a policy of `train` with a simulated task.")
    weights = policy.network.state_dict()
    with TemporaryDirectory() as root:
        jobs = []
        for bound in bounds:
            bounded = replace(network, state_bound=bound)
            policy.config = replace(config, network=bounded)
            policy.network = bounded.build(config.spec, policy.statistics)
            policy.network.load_state_dict(weights)
            folder = Path(root, f"{bound:g}")
            folder.mkdir()
            save_policy(policy, folder)
            jobs.append(Job(folder, config.task, Choice()))
        found = run_jobs(jobs, evaluation_seeds(0, episodes), workers=1)
    return [
        {
            "method": config.method,
            "seed": config.training.seed,
            "task": config.task,
            "state_bound": bound,
            "success": sum(e.success for e in runs),
            **{key: outcome(runs)[key] for key in ("mean_steps", "chunk_boundary_jump")},
        }
        for bound, runs in zip(bounds, found, strict=True)
    ]


def main() -> None:
    """Evaluate what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("policies", nargs="+", type=Path)
    parser.add_argument("--bounds", default="0,3,2,1.5,1.1")
    parser.add_argument("--episodes", type=int, default=100)
    asked = parser.parse_args()
    bounds = [float(x) for x in asked.bounds.split(",")]
    rows = [row for path in asked.policies for row in measure(path, bounds, asked.episodes)]
    print(json.dumps({"episodes": asked.episodes, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
