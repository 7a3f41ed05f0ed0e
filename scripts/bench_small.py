"""One row of each table in docs/benchmark.md once more, beside what is published. Prints a table.

    python scripts/bench_small.py [-o FOLDER] [--published docs/results]

Each row is collected, trained and evaluated anew by `ofp-edge bench SUITE --only ROW`, as many at
once as there are cores; FOLDER keeps what is done, so a second call goes on. Exits with 1 where a
success differs by more than `APART` for sure: another processor's training is another draw, and
draws of one row differ by up to that in these tables.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofp_edge.evaluate.intervals import wilson_interval

ROWS = (  # suite, its row, and where the table is published; the longest first
    ("rgb", "metaworld/button-press-topdown-wide/flow/0", "rgb"),
    ("points", "metaworld/button-press-topdown-wide/flow/0", "points"),
    ("starts", "metaworld/dial-turn/flow/0", "starts/suite"),
    ("small-time", "metaworld/peg-insert-side/flow/0", "small-time"),
    ("metaworld-50", "metaworld/button-press/ofp-plus/0", "metaworld-50"),
    ("small", "metaworld/basketball/flow/0", "small"),
)
APART = 0.10


@dataclass(frozen=True)
class Success:
    """How many of how many episodes succeeded."""

    good: int
    episodes: int

    @property
    def share(self) -> float:
        """In 0..1."""
        return self.good / self.episodes

    def __str__(self) -> str:
        low, high = wilson_interval(self.good, self.episodes)
        return f"{self.share:.0%} ({low:.0%} to {high:.0%}) of {self.episodes}"


def successes(results: Path, row: str) -> dict[int, Success]:
    """The successes of a row `task/name/seed` by evaluations, as a results.json has them."""
    task, name, seed = row.rsplit("/", 2)
    cells: list[dict[str, Any]] = json.loads(results.read_text())["cells"]
    return {
        cell["nfe"]: Success(round(cell["success"] * cell["episodes"]), cell["episodes"])
        for cell in cells
        if (cell["task"], cell["row"], str(cell["seed"])) == (task, name, seed)
    }


def apart(one: Success, other: Success) -> bool:
    """Whether the shares differ by more than APART with 95 % confidence (Newcombe 1998, method 10,
    by Wilson's intervals)."""
    low, high = sorted((one, other), key=lambda success: success.share)
    below, above = (
        wilson_interval(low.good, low.episodes),
        wilson_interval(high.good, high.episodes),
    )
    difference = high.share - low.share
    spread = ((high.share - above[0]) ** 2 + (below[1] - low.share) ** 2) ** 0.5
    return bool(difference - spread > APART)


def run_again(suite: str, row: str, folder: Path) -> dict[int, Success]:
    """Collect, train and evaluate the row. Ends the program with the line of what failed."""
    words = ["bench", suite, "-o", str(folder), "--workers", "1", "--only", row]
    done = subprocess.run(
        [sys.executable, "-m", "ofp_edge", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"ofp-edge {' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return successes(folder / "results.json", row)


def main() -> int:
    """Run every row; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/bench-small"))
    parser.add_argument("--published", type=Path, default=Path("docs/results"))
    asked = parser.parse_args()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = [pool.submit(run_again, s, row, asked.output / s) for s, row, _ in ROWS]
        other = 0
        for (suite, row, folder), now in zip(ROWS, found, strict=True):
            published = successes(asked.published / folder / "results.json", row)
            for nfe, success in now.result().items():
                differs = apart(success, published[nfe])
                other += differs
                said = "OTHER" if differs else "as published"
                print(f"{suite} {row} @{nfe}", flush=True)
                print(f"    {success}; published {published[nfe]}: {said}", flush=True)
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
