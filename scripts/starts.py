"""Success of a policy by how its warm starts go: t_w, noise and way, on the episodes of `tune`.

    python scripts/starts.py POLICY TASK [--episodes 60] [-o FILE]
        [--setting T_W,NOISE_WARM,WAY ...] [--no-restart] [--state-noise 0.001]

POLICY is a folder that `train` wrote, e.g. of 50 demonstrations of TASK with `--obs state`. Prints
one JSON document; docs/results/starts has those behind docs/starts.md. --no-restart: a plan that
repeats itself is followed on. --state-noise: standard deviation of what is added to every state
that the policy sees, in its unit. `change`: how far a plan is from the one before, by quantile.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import Job, run_jobs
from ofp_edge.evaluate.report import outcome
from ofp_edge.evaluate.seeds import validation_seeds
from ofp_edge.evaluate.tuning import BEST_JUMPS
from ofp_edge.files import sha256_folder
from ofp_edge.runtime.chunk import NOT_REPEATED, Chunk, Repeated
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.repeats import Repeats

SETTINGS = tuple(f"{t:g},{noise:g},{way}" for t, way, _, noise in BEST_JUMPS)
"""t_w, noise_warm and warm_step; a cold start has all noise and takes four evaluations."""
_SHOWN = ("success", "interval", "mean_steps", "chunk_boundary_jump", "jerk", "flips")


_QUANTILES = (0.05, 0.1, 0.5, 0.9)


def _watched(*, restart: bool, state_noise: float) -> list[float]:
    """Let this process's runs add noise to states, and note how far plans are from the last one."""
    seen: list[float] = []
    look, observe, random = Repeats.look, Inference.observe, np.random.default_rng(0)

    def watched(
        self: Repeats, plan: Any, actions: Any, previous: Chunk, *, noisier: bool
    ) -> Repeated:
        seen.append(float(np.sqrt(np.mean((plan - previous.normalised) ** 2))))
        found = look(self, plan, actions, previous, noisier=noisier)
        return found if restart else NOT_REPEATED

    def noisy(self: Inference, t_capture_ns: int, observations: Mapping[str, Any]) -> None:
        heard = {
            name: (x + random.normal(0, state_noise, x.shape)).astype(x.dtype) if x.ndim == 1 else x
            for name, x in observations.items()
        }
        observe(self, t_capture_ns, heard)

    Repeats.look = watched  # type: ignore[method-assign]
    if state_noise:
        Inference.observe = noisy  # type: ignore[method-assign]
    return seen


def main() -> None:
    """Measure every setting, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path)
    parser.add_argument("task")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--setting", action="append", default=None)
    parser.add_argument("--no-restart", action="store_true")
    parser.add_argument("--state-noise", type=float, default=0.0)
    parser.add_argument("-o", "--output", type=Path, default=None)
    given = parser.parse_args()
    changes = _watched(restart=not given.no_restart, state_noise=given.state_noise)
    rows = []
    for setting in given.setting or SETTINGS:
        changes.clear()
        t_w, noise, way = setting.split(",")
        start: dict[str, Any] = {"t_w": float(t_w), "noise_warm": float(noise), "warm_step": way}
        choice = Choice(nfe=1, noise_cold=1.0, cold_nfe=4, **start)
        jobs = [Job(given.policy, given.task, choice)]
        (run,) = run_jobs(jobs, validation_seeds(given.episodes), workers=1)
        found = outcome(run)
        change = {f"q{q:g}": float(np.quantile(changes, q)) for q in _QUANTILES if changes}
        row = {**start, **{key: found[key] for key in _SHOWN}}
        rows.append({**row, "change": change})
    document = {
        "policy_sha256": sha256_folder(given.policy),
        "task": given.task,
        "episodes": given.episodes,
        "restart": not given.no_restart,
        "state_noise": given.state_noise,
        "rows": rows,
    }
    text = json.dumps(document, indent=1)
    print(text)
    if given.output is not None:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
