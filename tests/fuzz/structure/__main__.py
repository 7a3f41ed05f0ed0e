"""How many structural changes are noticed: `python -m tests.fuzz.structure --seconds 60`.

Prints a table by change and, with -o, writes it as JSON: outcomes by change and layout. Run again
with the same file, it goes on behind the last case and adds up. Exit code 1 at a trace.

    python -m tests.fuzz.structure --cases 2000 --workers 1 -o docs/results/data-mutations.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.campaign import Campaign
from tests.fuzz.kinds import KINDS
from tests.fuzz.structure.prepared import LAYOUTS

OUTCOMES = ("refused", "said", "shown", "harmless", "unnoticed", "trace")
_SLICE = 60  # cases of a layout before the next one's turn


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.structure", description=__doc__)
    parser.add_argument("--layout", action="append", choices=sorted(LAYOUTS), help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=None, help="of each layout, in all")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"))
    parser.add_argument("-o", "--output", type=Path, default=None)
    given = parser.parse_args()
    if given.cases is None and given.seconds is None:
        parser.error("give --cases or --seconds")
    found: dict[str, Any] = {"seed": given.seed, "next": {}, "failures": {}, "layouts": {}}
    if given.output is not None and given.output.exists():
        found = json.loads(given.output.read_text())
        if found["seed"] != given.seed:
            parser.error(f"{given.output} is of seed {found['seed']}")
    until = None if given.seconds is None else time.monotonic() + given.seconds
    waiting = list(given.layout or LAYOUTS)
    KINDS[f"structure-{waiting[0]}"]().warm()  # once for all that is forked
    while waiting and (until is None or time.monotonic() < until):
        layout = waiting.pop(0)
        first = found["next"].get(layout, 0)
        count = _SLICE if given.cases is None else min(_SLICE, given.cases - first)
        if count <= 0:
            continue
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            os.environ["TMPDIR"] = tempfile.tempdir = folder
            campaign = Campaign(
                KINDS[f"structure-{layout}"], Path(folder), given.seed, given.failures
            )
            tally = campaign.run(first, count, None, given.workers)
        tempfile.tempdir = None
        add(found, layout, tally)
        found["next"][layout] = first + count
        waiting.append(layout)
        if given.output is not None:
            given.output.write_text(json.dumps(summed(found), indent=1) + "\n")
    print(table(summed(found)))
    return 1 if found["failures"] else 0


def add(found: dict[str, Any], layout: str, tally: dict[str, Any]) -> None:
    """Count what came of some cases."""
    known = found["layouts"].setdefault(layout, {})
    for change, outcomes in tally["outcomes"].items():
        known[change] = dict(Counter(known.get(change, {})) + Counter(outcomes))
    for bucket, count in tally["failures"].items():
        found["failures"][bucket] = found["failures"].get(bucket, 0) + count


def summed(found: dict[str, Any]) -> dict[str, Any]:
    """The document: with sums by change, and of all."""
    changes: dict[str, Counter[str]] = {}
    for known in found["layouts"].values():
        for change, outcomes in known.items():
            changes.setdefault(change, Counter()).update(outcomes)
    total: Counter[str] = sum(changes.values(), Counter())
    return {
        "seed": found["seed"], "cases": sum(total.values()), "all": dict(total),
        "failures": found["failures"], "next": found["next"],
        "changes": {x: {"cases": sum(changes[x].values()), **changes[x]} for x in sorted(changes)},
        "layouts": found["layouts"],
    }  # fmt: skip


def table(document: dict[str, Any]) -> str:
    """A line a change."""
    lines = [f"{'change':38} {'cases':>6}" + "".join(f"{x:>10}" for x in OUTCOMES)]
    for name, row in (*document["changes"].items(), ("all", document["all"])):
        cases = sum(row.get(x, 0) for x in OUTCOMES)
        lines.append(f"{name:38} {cases:6}" + "".join(f"{row.get(x, 0):10}" for x in OUTCOMES))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
