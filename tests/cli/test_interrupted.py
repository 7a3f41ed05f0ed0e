"""Ctrl-C at any moment of a command, also during its imports, is one line and exit code 130."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A script's background job, which this may be, would ignore it.
HEEDS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
# Sends Ctrl-C to itself at the import of one module, in the middle of it.
INTERRUPTS = """
import importlib.abc, os, signal, sys

class Interrupts(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000): pass

sys.meta_path.insert(0, Interrupts())
"""


def run(
    tmp_path: Path, module: str, *arguments: str, before: str = ""
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "sitecustomize.py").write_text((before or HEEDS) + INTERRUPTS)
    path = os.pathsep.join([str(tmp_path), os.getcwd(), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "ofp_edge", *arguments], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": path, "INTERRUPTED_AT": module}, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize(
    "module, arguments",
    [("typer", ("targets",)),
     ("rich.console", ("targets", "--json")),
     ("ofp_edge.cli.service", ("--help",)),
     ("ofp_edge.targets.registry", ("targets",)),
     ("numpy", ("inspect", "nothing", "--json"))],
)  # fmt: skip
def test_an_interrupted_import_is_one_line(
    module: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(tmp_path, module, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped.\n")


def test_a_job_that_ignores_it_goes_on(tmp_path: Path) -> None:
    ignores = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert run(tmp_path, "typer", "--version", before=ignores).returncode == 0
