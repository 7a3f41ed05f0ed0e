"""Writes the lock: run by scripts/lock/renew, which brings uv and packaging.

uv resolves pyproject.toml's ranges for every Python at once and names each file; here its answer
is cut to the files that setup may take, and loses its URLs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import tomllib
from lock import ENTRY, LOCK, PYTHONS, ROOT, TOOLS, Entry, extras
from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename
from torch_builds import BUILDS, builds
from torch_source import is_cuda

MACHINE = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
WHERE = "sys_platform == 'linux' and platform_machine == 'x86_64'"
HEADER = """\
# What `make setup` installs, for Python 3.11 to 3.13 on x86-64 Linux. Written by `make lock`.
# torch: PyTorch's CPU builds. A package with wheels has no hash of its source: none is compiled.
"""


def requirements() -> list[str]:
    """What the lock must satisfy: the project's own requirements, setup's extras, the tools."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *TOOLS]
    for extra in extras():
        wanted += project["optional-dependencies"][extra]
    return sorted(set(wanted))


def project(torch: dict[str, Any]) -> str:
    """The pyproject.toml that uv is asked about."""
    first, last = PYTHONS[0], f"3.{int(PYTHONS[-1].split('.')[1]) + 1}"
    where = f"{WHERE} and implementation_name == 'cpython' and python_version < '{last}'"
    return f"""\
[project]
name = "locked"
version = "0"
requires-python = ">={first},<{last}"
dependencies = {json.dumps(requirements())}
[tool.uv]
environments = [{json.dumps(where)}]
[[tool.uv.dependency-metadata]]
name = "torch"
version = {json.dumps(torch["version"])}
requires-dist = {json.dumps(torch["requires"])}
"""


def preferred(lock: str) -> str:
    """A lock's versions, in the form in which uv takes them as preferred.

    Not by `lock.read`: a lock left half merged is renewed too.
    """
    versions = sorted({(match["name"], match["version"]) for match in ENTRY.finditer(lock)})
    packages = ", ".join(f'{{ name = "{n}", version = "{v}" }}' for n, v in versions)
    return f'lock-version = "1.0"\ncreated-by = "lock"\npackages = [{packages}]\n'


def resolved(torch: dict[str, Any]) -> list[dict[str, Any]]:
    """uv's packages, each with its version, marker and files; the lock's versions if they fit."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").write_text(project(torch), encoding="utf-8")
        answer = Path(folder) / "pylock.toml"
        command: list[str | Path] = [
            Path(sys.executable).with_name("uv"),
            "pip",
            "compile",
            "pyproject.toml",
        ]
        # One version for all Pythons where there is one: what is tested on one holds on the others.
        command += ["--universal", "--python-version", PYTHONS[0], "--fork-strategy", "fewest"]
        command += ["--python", sys.executable, "--output-file", answer]
        if LOCK.exists() and not os.environ.get("UPGRADE"):
            kept = preferred(LOCK.read_text(encoding="utf-8"))
            answer.write_text(kept, encoding="utf-8")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"lock: uv finds no set of versions, nothing is written:\n{done.stderr}")
        packages: list[dict[str, Any]] = tomllib.loads(answer.read_text())["packages"]
        return packages


def holds(marker: str, python: str) -> set[bool]:
    """Whether a marker holds for the first and the last release of this Python."""
    releases = (f"{python}.0", f"{python}.99")
    environments = (
        {**MACHINE, "python_version": python, "python_full_version": full} for full in releases
    )
    return {not marker or Marker(marker).evaluate(environment) for environment in environments}


def fits(wheel: str, python: str) -> bool:
    """Whether a wheel's name is for this Python on x86-64 Linux, of whatever glibc."""
    major, minor = map(int, python.split("."))
    version, abi = (major, minor), f"cp{major}{minor}"
    tags = [*cpython_tags(version, [abi], ["any"]), *compatible_tags(version, abi, ["any"])]
    kinds = {(tag.interpreter, tag.abi) for tag in tags}
    return any(
        (tag.interpreter, tag.abi) in kinds
        and re.fullmatch(r"any|(manylinux\w*|linux)_x86_64", tag.platform)
        for tag in parse_wheel_filename(wheel)[3]
    )


def entry(package: dict[str, Any], torch: dict[str, Any]) -> Entry | None:
    """A package's entry, or none if no Python of the lock needs it."""
    name, marker = package["name"], package.get("marker", "")
    answers = {python: holds(marker, python) for python in PYTHONS}
    pythons = [python for python, answer in answers.items() if True in answer]
    if not pythons:
        return None
    always = all(answer == {True} for answer in answers.values())
    if name == "torch":
        hashes = {torch["sha256"][python] for python in pythons}
    else:
        wheels = {
            unquote(wheel["url"].rsplit("/", 1)[-1]): wheel["hashes"]["sha256"]
            for wheel in package.get("wheels", ())
        }
        found = {p: {wheels[wheel] for wheel in wheels if fits(wheel, p)} for p in pythons}
        hashes = set().union(*found.values())
        if not all(found.values()):
            if "sdist" not in package:
                sys.exit(f"lock: {name}=={package['version']} has no file for every Python")
            hashes.add(package["sdist"]["hashes"]["sha256"])
    return Entry(name, package["version"], "" if always else marker, tuple(sorted(hashes)))


def write(path: Path, text: str) -> None:
    """Replace a file as a whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def main() -> None:
    """Renew the lock, and torch.json if the pin has changed."""
    torch = builds()
    found = (entry(package, torch) for package in resolved(torch))
    entries = sorted(filter(None, found), key=lambda e: (e.name, e.marker))
    if cuda := [e.name for e in entries if is_cuda(e.name)]:
        sys.exit(f"lock: CUDA packages ({' '.join(cuda)}): set TORCH_INDEX to one of CPU builds")
    write(BUILDS, json.dumps(torch, indent=2) + "\n")
    write(LOCK, HEADER + "".join(map(str, entries)))
    print(f"lock: {len(entries)} packages in {LOCK.relative_to(ROOT)}. Now: make setup, make test")


if __name__ == "__main__":
    main()
