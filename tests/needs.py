"""What a test does when this machine lacks something: skip with a reason, or fail in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from ofp_edge.origin import install_line
from ofp_edge.runtime.runners.table import ENGINES

CPU_ENGINES = [name for name, engine in ENGINES.items() if engine.processor == "cpu"]


def absent(reason: str) -> NoReturn:
    """Skip, saying why and what would help; where CI=true, fail: there it must be installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"must be there in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def needs_engines() -> None:
    """Every inference engine: the one of ExecuTorch is built from native/, by a C++ compiler."""
    for name in CPU_ENGINES:
        if not ENGINES[name].installed():
            absent(f"no engine {name}: {install_line(name)}")
