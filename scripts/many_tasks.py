"""One network for many of Meta-World's tasks: collect, train, evaluate. Prints one JSON document.

    python scripts/many_tasks.py --folder FOLDER                  # all fifty: hours
    python scripts/many_tasks.py --folder FOLDER --tasks door-open door-close --steps 2000

Every step is a command that is printed first. What is in FOLDER already is not made again: a run
that was stopped goes on with the same line. Each task is also evaluated under the words of another
one (`eval --words other`): whether it is the words that a policy goes by.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from ofp_edge.errors import UnknownName
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.sim.tasks import FIFTY

_PREFIX, _ENDING = "metaworld/", "-fine"
_SHOWN = ("success", "interval", "mean_steps", "faults")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", help="names without prefix; all fifty if left out")
    parser.add_argument("--demonstrations", type=int, default=50, help="of each task")
    parser.add_argument("--steps", type=int, default=40_000, help="of the optimiser")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--method", default="ofp-plus")
    parser.add_argument("--nfe", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=100, help="of each task")
    parser.add_argument("--other", type=int, default=20, help="of each task, told another one")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    tasks = [_task(name) for name in given.tasks] if given.tasks else list(FIFTY)
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    data = [folder / f"{task.partition('/')[2]}.zarr" for task in tasks]
    for task, path in zip(tasks, data, strict=True):
        if not path.exists():
            _run("collect", task, "-n", given.demonstrations, "--obs", "state", "-o", path)
    trained = _trained(given, folder, data)
    found = {}
    policy, nfe = folder / "policy", ("--nfe", given.nfe)
    for task in tasks:
        runs = {}
        for words, episodes in (("own", given.episodes), ("other", given.other)):
            if not episodes:
                continue
            kept = folder / f"{task.partition('/')[2]}-{words}.json"
            if not kept.exists():
                _run("eval", policy, "--task", task, "--episodes", episodes, "--words", words,
                     "--workers", given.workers, *nfe, "-o", kept)  # fmt: skip
            document = json.loads(kept.read_text())
            runs[words] = {"episodes": document["episodes"], **{x: document[x] for x in _SHOWN}}
        found[task] = runs
    means = {
        words: sum(x[words]["success"] for x in found.values()) / len(found)
        for words in next(iter(found.values()))
    }
    document = {
        "command": shlex.join(["python", "scripts/many_tasks.py", *sys.argv[1:]]),
        "machine": fingerprint(threads=1),
        "training": trained,
        "mean_success": means,
        "tasks": found,
    }
    print(json.dumps(document, indent=1))


def _task(name: str) -> str:
    full = f"{_PREFIX}{name}{_ENDING}"
    if full not in FIFTY:
        raise UnknownName("task", name, [x[len(_PREFIX) : -len(_ENDING)] for x in FIFTY])
    return full


def _trained(given: argparse.Namespace, folder: Path, data: list[Path]) -> Any:
    """Train, or go on, and return what `train --json` says."""
    kept, policy = folder / "train.json", folder / "policy"
    if not kept.exists():
        started = ["--resume"] if policy.exists() else ["--preset", given.preset]
        said = _run("train", *data, "--instructed", "--method", given.method, "--steps",
                    given.steps, "-o", policy, "--json", *started)  # fmt: skip
        kept.write_text(said)
    document = json.loads(kept.read_text())
    shown = ("method", "preset", "steps", "parameters", "seconds", "chunk_error")
    return {x: document[x] for x in shown}


def _run(*words: object) -> str:
    """Run one of our commands; its progress goes to stderr. Ends with it where it fails."""
    line = [str(x) for x in words]
    print(shlex.join(["ofp-edge", *line]), file=sys.stderr, flush=True)
    said = subprocess.run(
        [sys.executable, "-m", "ofp_edge", *line], stdout=subprocess.PIPE, text=True
    )
    if said.returncode:
        raise SystemExit(said.returncode)
    return said.stdout


if __name__ == "__main__":
    main()
