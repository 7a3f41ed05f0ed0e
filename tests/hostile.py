"""Reads hostile input in a process of its own, with bounded memory and time: if that dies, it is
the finding, and not the end of the tests."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ofp_edge.errors import OfpError

ROOT = Path(__file__).parents[1]


def read_apart(
    function: str,
    warm: Path,
    paths: Sequence[Path],
    *,
    memory_mib: int = 4096,
    growth_mib: int = 100,
    seconds: float = 300.0,
) -> list[str]:
    """What `module:function` made of each path: "read", or the one line it was refused with.

    warm: a good path, read first. growth_mib: by how much the others may raise the memory that the
    process has used at most since. memory_mib: its address space.
    """  # fmt: skip
    command = [sys.executable, "-m", "tests.hostile", function, str(memory_mib << 20)]
    every = [str(path) for path in (warm, *paths)]
    done = subprocess.run(
        command, input=json.dumps(every), capture_output=True, text=True, timeout=seconds, cwd=ROOT
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(rows) == len(every), (
        f"ended at {every[min(len(rows), len(every) - 1)]} with {done.returncode}: "
        f"{done.stderr[-2000:]}"
    )
    assert rows[0][0] == "read", rows[0]
    for (_, before), (said, after), path in zip(rows, rows[1:], every[1:], strict=False):
        assert after - before < growth_mib, f"{path} took {after - before} MiB: {said}"
    return [said for said, _ in rows[1:]]


def main(name: str, memory: int, paths: list[str]) -> None:
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path in paths:
        try:
            function(Path(path))
            said = "read"
        except OfpError as refused:
            said = str(refused)
        print(
            json.dumps([said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10]), flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.load(sys.stdin))
