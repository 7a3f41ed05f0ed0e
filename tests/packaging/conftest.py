"""Our own two wheels, made once a session in a copy of the repository whose path is not simple."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import absent
from tests.packaging.offline import copy_of_the_repository


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_repository(tmp_path_factory.mktemp("copy") / "a user's #1 (copy); $x")


@pytest.fixture(scope="session")
def dist(checkout: Path) -> Path:
    """What `make wheels` leaves in the copy's dist."""
    if shutil.which("g++") is None:
        absent("no C++ compiler: sudo apt-get install -y g++")
    pytest.importorskip("executorch.version", reason="the executorch wheel is not installed")
    done = subprocess.run(
        ["make", "-C", checkout, "wheels"], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return checkout / "dist"
