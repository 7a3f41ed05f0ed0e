"""Runs on the emulated processor: the comparisons of compare.py and saturating.py, and where each
engine's code lies.

    python traced.py ANSWERS LAYERS BUNDLE...

Prints a JSON line a bundle, engine and precision, one a layer of LAYERS and engine, then one with
the processor as ofp-edge names it and the addresses of the engines' libraries, which the emulator's
trace is read by.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from compare import rows
from cpus import ENGINES
from saturating import check

from ofp_edge.processor import processor


def main() -> None:
    """See the module."""
    file, layers, *names = sys.argv[1:]
    with np.load(file, allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    for row in rows(kept, [Path(name) for name in names]):
        print(json.dumps(row), flush=True)
    for row in check(Path(layers)):
        print(json.dumps(row), flush=True)
    lies: dict[str, list[list[int]]] = {engine: [] for engine in ENGINES}
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        for engine, library in ENGINES.items():
            if library in line:
                first, _, end = line.partition(" ")[0].partition("-")
                lies[engine].append([int(first, 16), int(end, 16)])
    print(json.dumps({"kind": processor().kind, "lies": lies}), flush=True)


if __name__ == "__main__":
    main()
