"""Provide ofp-edge's own two wheels for a board, given or built: no index has them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from ofp_edge import __version__
from ofp_edge.errors import OfpError
from ofp_edge.origin import DISTRIBUTION, origin
from ofp_edge.targets.pip_download import Say
from ofp_edge.targets.systems import System

ENGINE = "ofp-edge-executorch"


def bring_own(
    folder: Path, system: System, find_links: Sequence[Path], say: Say, *, executorch: bool
) -> None:
    """Put ofp-edge's wheel, and the ExecuTorch engine's for the system's machine, into `folder`.

    A wheel of the same version in `find_links` is taken; the others are built. say: hears progress.
    Raises OfpError with the builder's last line, or where there is neither wheel nor checkout.
    """
    root = origin().checkout
    for name in (DISTRIBUTION, ENGINE) if executorch else (DISTRIBUTION,):
        given = _given(name, system, find_links)
        if given is not None:
            say(f"taking {given}")
            shutil.copy2(given, folder)
        elif root is None:
            raise OfpError(
                f"this ofp-edge was not installed from a checkout, which {name}'s wheel is built "
                f"from. In one, run: make wheels MACHINE={system.machine}; then give its dist by "
                "--find-links."
            )
        else:
            _build(root, name, system, folder, say)


def _given(name: str, system: System, find_links: Sequence[Path]) -> Path | None:
    version = __version__ if name == DISTRIBUTION else _engine_version()
    start = f"{name.replace('-', '_')}-{version}-py3-none-"
    for place in find_links:
        for end in ("any.whl", f"*_{system.machine}.whl"):
            if found := sorted(place.glob(start + end)):
                return found[0]
    return None


def _engine_version() -> str:
    """What the extra of this ofp-edge pins."""
    for line in metadata.requires(DISTRIBUTION) or ():
        if found := re.match(rf"{ENGINE}==([\d.]+)", line):
            return found[1]
    raise AssertionError(f"no extra pins {ENGINE}")


def _build(root: Path, name: str, system: System, folder: Path, say: Say) -> None:
    """scripts/wheels; its steps are passed on as it says them."""
    command = [str(root / "scripts/wheels"), str(folder.resolve()), name]
    environment = {**os.environ, "MACHINE": system.machine, "PYTHON": sys.executable}
    last = "no reason given"
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as running:
        assert running.stderr is not None  # it was asked for
        for line in filter(None, map(str.strip, running.stderr)):
            last = line.removeprefix("wheels: ")
            if last != line:
                say(last)
    if running.returncode:
        raise OfpError(f"{name}: {last}")
