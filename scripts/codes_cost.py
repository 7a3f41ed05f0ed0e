"""What codes cost: a step of training, and an engine's `act`, with and without. Prints JSON.

    python scripts/codes_cost.py DATASET WITHOUT WITH [-o FILE]

WITHOUT and WITH are policies of one preset that `train` wrote from DATASET, the first with
`--option codes=0`. Both are trained for a few steps and run in turn in one process, so the ratios
hold on a busy machine; docs/results/codes/cost.json is the one behind docs/training.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from prefix_cost import engines

from ofp_edge.bench.work import seconds_a_step
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.train.request import Request

_STEPS, _ROUNDS = 100, 3


def training(dataset: Path, policies: dict[str, Policy]) -> dict[str, Any]:
    """Processor seconds of a step of each, in whole trainings of few steps, in turn."""
    torch.set_num_threads(1)
    took: dict[str, list[float]] = {name: [] for name in policies}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(_ROUNDS):
            for name, policy in policies.items():
                config = policy.config
                request = Request(
                    dataset,
                    Path(folder) / "p",
                    config.method,
                    config.preset,
                    steps=_STEPS,
                    seed=0,
                    force=True,
                    options={"codes": float(config.network.codes)},
                )
                took[name].append(seconds_a_step(request))
    seconds = {name: statistics.median(x) for name, x in took.items()}
    ratio = seconds["told"] / seconds["plain"]
    return {**{k: round(x, 5) for k, x in seconds.items()}, "ratio": round(ratio, 3)}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("dataset", "without", "with_codes"):
        parser.add_argument(name, type=Path)
    parser.add_argument("-o", "--output", type=Path, default=None)
    given = parser.parse_args()
    # "told", as prefix_cost.py calls the larger of its two
    policies = {"plain": load_policy(given.without), "told": load_policy(given.with_codes)}
    document = {
        "codes": {name: x.config.network.codes for name, x in policies.items()},
        "parameters": {name: x.network.parameter_count for name, x in policies.items()},
        "load_1min": round(os.getloadavg()[0], 1),
        "training_cpu_s_per_step": training(given.dataset, policies),
        "engines_us": engines({name: deploy(x) for name, x in policies.items()}),
    }
    text = json.dumps(document, indent=1)
    print(text)
    if given.output is not None:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
