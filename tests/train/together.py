"""Run as one of several processes: trains in several ways, and tells what came out as JSON.

together.py DATASET FOLDER: cases below FOLDER; rank and world come from the environment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from ofp_edge.errors import OfpError
from ofp_edge.policy.methods import METHODS
from ofp_edge.train import loop
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.processes import Processes, joined_processes
from ofp_edge.train.request import Request


def run(processes: Processes, dataset: Path, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"count": processes.count}

    def plan(name: str, **changes: Any) -> Any:
        request = {"preset": "tiny", "steps": 30, **changes}
        return make_plan(Request(dataset, folder / name, **request))

    for method in sorted(METHODS):
        told: list[str] = []
        start = plan(method, method=method)
        result = train(
            start, processes, validate_every=10, progress=lambda *a, told=told: told.append(a[2])
        )
        found[method] = {
            "loss": result.loss, "losses": start.state.losses, "told": told,
            "curve": [point.loss for point in start.history.points],
        }  # fmt: skip

    poisoned = plan("nan")

    class Poisoned(type(poisoned.method)):  # type: ignore[misc]
        def losses(self, network: Any, *rest: Any) -> Any:
            terms = super().losses(network, *rest)
            bad = poisoned.state.step == 25 and processes.rank == 1
            return {name: x * (float("nan") if bad else 1) for name, x in terms.items()}

    poisoned.method = Poisoned()
    found["nan"] = told_by(lambda: train(poisoned, processes, checkpoint_every=10))

    def full(state: Any, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    real, loop.save_state = loop.save_state, full
    found["disk"] = told_by(lambda: train(plan("disk"), processes, checkpoint_every=10))
    loop.save_state = real

    def lost() -> None:
        if processes.rank == 1:
            raise OfpError("no such dataset.")

    found["lost"] = told_by(lambda: processes.agree(lost))
    uneven = plan("uneven", batch_size=33)
    found["uneven"] = told_by(lambda: train(uneven, processes))

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 10 and processes.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    found["stopped"] = train(plan("stopped", method="flow"), processes, progress=stop).step
    return found


def told_by(work: Any) -> str | None:
    try:
        work()
    except OfpError as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    torch.set_num_threads(1)
    joined = joined_processes()
    answer = run(joined, Path(sys.argv[1]), Path(sys.argv[2]))
    joined.close()
    print(json.dumps(answer))
