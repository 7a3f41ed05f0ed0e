"""A trial of a few lines of Python in a process of their own, so that a library that crashes takes
only that."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Probe:
    """The answer of a trial: `ok` and the last line of stdout, or not `ok` and the reason in one
    line."""

    ok: bool
    text: str


def installed(module: str) -> bool:
    """Say whether a top-level module could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def probe(code: str, timeout_s: float = TIMEOUT_S, **environment: str) -> Probe:
    """Run `code` in a new interpreter, with `environment` added to this process's."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            env={**os.environ, "RS2_RUM_CLOUD_ENABLED": "0", **environment},
        )
    except subprocess.TimeoutExpired:
        return Probe(False, f"no answer within {timeout_s:g} s")
    if done.returncode == 0:
        return Probe(True, _last_line(done.stdout))
    if done.returncode < 0:
        return Probe(False, f"killed by signal {-done.returncode}")
    return Probe(False, _last_line(done.stderr) or f"exit code {done.returncode}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
