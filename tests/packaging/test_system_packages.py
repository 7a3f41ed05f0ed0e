"""Every Debian package that a document, an error, doctor or a script names exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import absent
from tests.packaging.offline import DOCUMENTS, ROOT, SOURCES, texts

COMMAND = re.compile(r"apt-get install ((?: *[\w.+-]+)+)")
NVIDIA = ("nvidia-", "python3-libnvinfer")  # in the repository of JetPack's own system alone
THINGS = ("libusb", "gl", "compiler", "compiler-aarch64", "emulator", "chromium")


def said_by_the_script() -> str:
    """What scripts/system-packages prints to somebody who may not install, on an empty machine."""
    fakes = "id() { echo 1000; }; ldconfig() { :; }; command() { return 1; }\n"
    text = (ROOT / "scripts/system-packages").read_text()
    done = subprocess.run(
        ["bash", "-c", fakes + text, "system-packages", *THINGS], capture_output=True, text=True,
        cwd=ROOT,
    )  # fmt: skip
    assert done.stderr.count("sudo apt-get install") == len(THINGS), done.stderr
    return done.stderr


def named() -> set[str]:
    """Package names out of every such line."""
    said = [x.read_text(encoding="utf-8") for x in DOCUMENTS]
    said += [text for path in SOURCES for text in texts(path)]
    said += re.findall(r"apt-get install -y [\w+-]+", (ROOT / "scripts/setup").read_text())
    lines = "\n".join([*said, said_by_the_script()])
    words = " ".join(COMMAND.findall(lines)).split()
    return {x.rstrip(".") for x in words if not x.startswith("-")}


def test_lines_are_found() -> None:
    assert {"libosmesa6", "g++", "g++-aarch64-linux-gnu", "rt-tests", "nvidia-jetpack"} <= named()


@pytest.mark.parametrize("package", sorted(named()))
def test_a_package_that_is_named_exists(package: str) -> None:
    if shutil.which("apt-cache") is None:
        absent("no apt here")
    if not list(Path("/var/lib/apt/lists").glob("*_Packages*")):
        pytest.skip("apt has no lists here: sudo apt-get update")
    if package.startswith(NVIDIA):
        pytest.skip(f"{package} is in NVIDIA's repository for JetPack alone")
    done = subprocess.run(
        ["apt-cache", "show", package], capture_output=True, text=True,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, f"{package}: {done.stderr}"
