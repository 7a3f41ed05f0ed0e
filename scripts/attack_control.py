"""Attack the control loop: random schedules of everything that goes wrong, held against promises.

    python scripts/attack_control.py --ticks 1000000 --seed 0
    python scripts/attack_control.py --reproduce '{"seed": 7, "ticks": 12, "troubles": [], ...}'

Half of the ticks go through the state machine alone, half through the whole loop on a fake clock
(tests/attack). Every kind of broken promise is printed once, as the smallest schedule that still
breaks it; the last line is a summary in JSON. Exit code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.attack.campaign import Found, attack, reproduce  # noqa: E402


def main() -> int:
    """Run the schedules, or one; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=20_000, help="of all schedules (20000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule (0)")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--reproduce", metavar="JSON", help="run one schedule and say what breaks")
    given = parser.parse_args()
    if given.reproduce is not None:
        said = reproduce(json.loads(given.reproduce))
        print(said or "every promise was kept")
        return 1 if said else 0
    share = -(-given.ticks // given.workers)
    found = Found()
    with ProcessPoolExecutor(given.workers) as pool:
        # Far apart: no two of them draw the same schedule.
        starts = [given.seed + 10_000_000 * number for number in range(given.workers)]
        for part in pool.map(attack, starts, [share] * given.workers):
            found.add(part)
    for name, example in sorted(found.examples.items()):
        print(f"{name}: {found.broken[name]} schedules, the first made small:\n  {example}")
    print(json.dumps({"seed": given.seed, **found.to_json()}))
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
