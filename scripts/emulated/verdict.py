"""Reads the comparisons of test-aarch64: a table, and exit code 1 where something is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """See the module."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    for x in rows:
        share = f"{x['bit_equal']} of {x['values']}"
        told = "bit-equal" if x["reason"] is None else (
            f"{share} bit-equal, largest difference {x['largest_difference']:.1e}: {x['reason']}"
        )  # fmt: skip
        print(
            f"{x['machine']} {x['python']:8} {x['bundle']:13} {x['engine']:11} {x['precision']:5}"
            f"{100 * x['tolerance_used']:4.0f} % of the tolerance; {told}"
        )
    machines = {(x["machine"], x["python"].rpartition(".")[0]) for x in rows}
    pairs = {(x["bundle"], x["engine"], x["precision"]) for x in rows}
    missing = {"aarch64 3.11", "aarch64 3.13", "3.10"} - {
        name for machine, python in machines for name in (f"{machine} {python}", python)
    }
    if missing or len(rows) != len(machines) * len(pairs) or len(pairs) != 12:
        sys.exit(f"not all was compared: {len(rows)} rows, missing {sorted(missing)}")


if __name__ == "__main__":
    main()
