"""Success of a policy by how its chunks start: t_w and noise, on the episodes that `tune` uses.

    python scripts/starts.py POLICY TASK [--episodes 60] [-o FILE]

POLICY is a folder that `train` wrote, e.g. of 50 demonstrations of TASK with `--obs state`. Prints
one JSON document; docs/results/starts has those behind docs/starts.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import Job, run_jobs
from ofp_edge.evaluate.report import outcome
from ofp_edge.evaluate.seeds import validation_seeds
from ofp_edge.files import sha256_folder

SETTINGS = ((0.3, 1.0), (0.3, 0.0), (0.5, 0.0), (0.2, 0.0), (0.5, 1.0))
"""t_w and noise_warm; a cold start has all noise and takes one evaluation."""
_SHOWN = ("success", "interval", "mean_steps", "chunk_boundary_jump", "jerk", "flips")


def main() -> None:
    """Measure every setting, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path)
    parser.add_argument("task")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=None)
    given = parser.parse_args()
    rows = []
    for t_w, noise in SETTINGS:
        choice = Choice(nfe=1, t_w=t_w, noise_cold=1.0, noise_warm=noise, cold_nfe=1)
        jobs = [Job(given.policy, given.task, choice)]
        (run,) = run_jobs(jobs, validation_seeds(given.episodes), workers=given.workers)
        found = outcome(run)
        rows.append({"t_w": t_w, "noise_warm": noise, **{key: found[key] for key in _SHOWN}})
    document = {
        "policy_sha256": sha256_folder(given.policy),
        "task": given.task,
        "episodes": given.episodes,
        "rows": rows,
    }
    text = json.dumps(document, indent=1)
    print(text)
    if given.output is not None:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
