"""The Markdown table of what `scripts/distill_table` measured: `distill_table.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Print it."""
    folder = Path(sys.argv[1])

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        return found

    def row(what: str, training: dict[str, Any], evaluation: dict[str, Any]) -> str:
        low, high = evaluation["interval"]
        cells = (what, training["steps"], f"{training['seconds']:.0f}", evaluation["nfe"],
                 f"{evaluation['success']:.2f} ({low:.2f}-{high:.2f})")  # fmt: skip
        return "| " + " | ".join(str(cell) for cell in cells) + " |"

    teacher = read("trained-eval")
    print(f"""# Distilled from a LeRobot DiffusionPolicy

Written by `scripts/distill_table`, from the JSON beside it. {teacher["task"]}, state,
{teacher["episodes"]} unseen episodes each, every chunk from fresh noise; brackets: Wilson's 95 %.
One network shape throughout, one training seed. Seconds are wall clock on a shared machine.

| policy | training steps | seconds | evaluations a chunk | success |
|---|---|---|---|---|""")
    print(row("LeRobot's DiffusionPolicy, imported", read("trained"), teacher))
    steps = sorted(int(path.stem.split("-")[1]) for path in folder.glob("untrained-*-eval.json"))
    for start, what in (("trained", "distilled from it"), ("untrained", "the same from untrained")):
        for n in steps:
            print(row(f"{what}", read(f"{start}-{n}"), read(f"{start}-{n}-eval")))


if __name__ == "__main__":
    main()
