"""The lock: what `make setup` installs, by hash, from wherever pip is told to look."""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
PYTHONS = ("3.11", "3.12", "3.13")

requirements = pytest.importorskip("packaging.requirements")


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        patch.syspath_prepend(str(SCRIPTS / "lock"))
        return import_module("lock")


@pytest.fixture(scope="module")
def torch_source(lock: ModuleType) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return import_module("torch_source")


@cache
def parsed(line: str) -> Any:
    return requirements.Requirement(line)


def environment(python: str) -> dict[str, str]:
    """The markers' variables on a machine that the lock is for."""
    return {
        "implementation_name": "cpython", "os_name": "posix", "platform_machine": "x86_64",
        "platform_python_implementation": "CPython", "platform_system": "Linux",
        "python_full_version": f"{python}.9", "python_version": python, "sys_platform": "linux",
    }  # fmt: skip


def versions(lock: ModuleType, python: str) -> dict[str, str]:
    """Version by name of what the lock installs on this Python; each name once."""
    from packaging.markers import Marker

    entries = [
        entry
        for entry in lock.read()
        if not entry.marker or Marker(entry.marker).evaluate(environment(python))
    ]
    found = {entry.name: entry.version for entry in entries}
    assert len(found) == len(entries), f"a package stands twice for Python {python}. Run: make lock"
    return found


def unsatisfied(
    lock: ModuleType, lines: list[str], python: str, versions: dict[str, str]
) -> list[str]:
    """Those of these requirements that the versions do not satisfy."""
    wrong = []
    for requirement in map(parsed, lines):
        where = {**environment(python), "extra": ""}
        if requirement.marker is None or requirement.marker.evaluate(where):
            version = versions.get(lock.canonical(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                wrong.append(f"{requirement} (Python {python}: {version or 'nothing'} in the lock)")
    return wrong


def wanted(lock: ModuleType) -> list[str]:
    """What pyproject.toml asks for with setup's extras, and the tools that install and build."""
    import tomlkit

    project = tomlkit.parse((ROOT / "pyproject.toml").read_text()).unwrap()["project"]
    lines = [*project["dependencies"], *lock.TOOLS]
    for extra in lock.extras():
        lines += project["optional-dependencies"][extra]
    return lines


def test_the_lock_holds_versions_and_hashes_and_no_place(lock: ModuleType) -> None:
    text = lock.LOCK.read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    # Nothing stands between the comments on top and the entries, each of one exact form.
    assert text == "\n".join(comments) + "\n" + "".join(map(str, lock.read()))
    for line in comments:
        assert not re.search(r"://|--|file:|[a-z]\.[a-z]", line), line
    for mark in ("://", "index-url", "find-links", "file:", "@"):
        assert mark not in text


def test_every_entry_is_one_version_with_hashes(lock: ModuleType) -> None:
    from packaging.version import Version

    entries = lock.read()
    assert len(entries) > 100
    for entry in entries:
        assert str(Version(entry.version)) == entry.version and "+" not in entry.version
        assert len(set(entry.hashes)) == len(entry.hashes) >= 1


@pytest.mark.parametrize(
    "line",
    ["--index-url https://x/simple", "zarr @ file:///zarr.whl", "zarr==3.1.6", "zarr>=3 \\"],
)
def test_a_lock_of_another_form_is_refused(lock: ModuleType, line: str) -> None:
    with pytest.raises(SystemExit, match="make lock"):
        lock.parse(f"{line}\n")


def test_torch_is_the_cpu_build_of_each_python(lock: ModuleType, torch_source: ModuleType) -> None:
    builds = json.loads((SCRIPTS / "lock/torch.json").read_text())
    (torch,) = (entry for entry in lock.read() if entry.name == "torch")
    assert tuple(builds["sha256"]) == PYTHONS
    assert len(torch.hashes) == 3
    assert set(torch.hashes) == set(builds["sha256"].values())
    assert f"torch=={torch.version}" == torch_source.requirement()
    assert builds["version"] == torch.version


def test_the_lock_holds_no_cuda_package(lock: ModuleType, torch_source: ModuleType) -> None:
    names = [entry.name for entry in lock.read()]
    assert [n for n in names if torch_source.is_cuda(n) or re.match("cuda|triton", n)] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_pyproject(lock: ModuleType, python: str) -> None:
    wrong = unsatisfied(lock, wanted(lock), python, versions(lock, python))
    assert not wrong, f"not in the lock: {'; '.join(wrong)}. Run: make lock"


def test_what_the_lock_installs_needs_nothing_else(lock: ModuleType) -> None:
    """Judged by the metadata of the packages that are installed here at the lock's version."""
    installed, wrong, judged = lock.installed(), [], 0
    have = {python: versions(lock, python) for python in PYTHONS}
    for name in installed:
        lines = metadata.requires(name) or []
        for python, names in have.items():
            if names.get(name) == installed[name].partition("+")[0]:
                judged += 1
                found = unsatisfied(lock, lines, python, names)
                wrong += [f"{name}: {line}" for line in found]
    if not judged:
        pytest.skip("no package is installed here at the lock's version")
    assert not wrong, f"{'; '.join(wrong)}. Run: make lock"


def test_the_lock_is_for_the_pythons_that_setup_takes(lock: ModuleType) -> None:
    text = (SCRIPTS / "python_fits.py").read_text()
    (first,) = re.findall(r'else "3\.(\d+)"', text)
    (last,) = re.findall(r"\(3, (\d+)\)", text)
    assert lock.PYTHONS == tuple(f"3.{n}" for n in range(int(first), int(last) + 1)) == PYTHONS


def test_an_environment_is_compared_with_the_lock(
    lock: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    have: dict[str, Any] = dict(versions(lock, python))
    monkeypatch.setattr(lock, "installed", lambda: have)
    have["torch"] += "+cpu"
    assert lock.differences() == []
    have.update(numpy="1.0", ipython="9.0")
    del have["zarr"]
    assert lock.unnamed() == ["ipython"]
    ipython, numpy, zarr = lock.differences()
    assert ipython == "ipython: 9.0 installed, not in the lock"
    assert numpy.endswith("in the lock, 1.0 installed")
    assert zarr.endswith("in the lock, None installed")
