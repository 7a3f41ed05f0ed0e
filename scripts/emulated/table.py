"""The table of processors in docs/performance.md, from docs/results/cpus/cpus.json.

table.py            print it
table.py --write    put it into the page, between the two markers
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/performance.md"
RESULTS = ROOT / "docs/results/cpus/cpus.json"
BEGIN, END = "<!-- cpus -->", "<!-- /cpus -->"
HEAD = (
    "| processor | found in | engine | kernels that ran | fp32: of the tolerance, equal to this "
    "machine's | int8: of the tolerance, equal to this machine's |",
    "|---|---|---|---|---|---|",
)
SHOWN = {
    "vfmadd": "FMA", "fmla": "FMLA", "mulps": "MULPS", "pmaddwd": "PMADDWD", "vpmaddwd": "VPMADDWD",
    "smlal": "SMLAL", "dot": "SDOT/UDOT", "mmla": "SMMLA/UMMLA", "sve": "SVE",
}  # fmt: skip
"""As the table names them; others are of no interest to it."""


def precision(rows: list[dict[str, Any]], engine: str, name: str) -> str:
    """The largest share of its tolerance that any bundle used; how many values are bit-equal."""
    mine = [x for x in rows if (x["engine"], x["precision"]) == (engine, name)]
    used = max(x["tolerance_used"] for x in mine)
    equal, count = (sum(x[key] for x in mine) for key in ("bit_equal", "values"))
    return f"{used:.0%}, {'all' if equal == count else f'{equal / count:.0%}'}"


def tables() -> str:
    """What stands between the markers."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [*HEAD]
    for item in found["cpus"]:
        for engine, kernels in item["kernels"].items():
            ran = ", ".join(SHOWN[x] for x in kernels if x in SHOWN)
            fp32, int8 = (precision(item["rows"], engine, x) for x in ("fp32", "int8"))
            lines.append(
                f"| {item['cpu']} | {item['boards']} | {engine} | {ran} | {fp32} | {int8} |"
            )
    lines += ["", f"This machine: {found['measured_on']}."]
    for run in found.get("runs", ()):
        lines.append(
            f"A run from a recording on {run['cpu']}: {run['chunks']} chunks, INT8; of those made "
            f"here again from its log {run['bit_equal']} are bit-equal, the others at most "
            f"{run['largest_difference']:.1e} off."
        )
    for other in found.get("compiled", ()):
        pairs = ", ".join(f"{x['engine']} {x['precision']}" for x in other["rows"])
        lines.append(
            f"A bundle for `host` compiled on {other['compiled_on']} and opened here: within "
            f"tolerance ({pairs})."
        )
    return "\n".join(lines)


def written() -> str:
    """What the page has between the markers."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


def main() -> None:
    """See the module."""
    if sys.argv[1:] == ["--write"]:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}", encoding="utf-8")
    else:
        print(tables())


if __name__ == "__main__":
    main()
