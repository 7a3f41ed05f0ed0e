"""`make lock`: which files of a package may be installed, and torch's, which no index names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
TORCH = {"sha256": {python: hashlib.sha256(python.encode()).hexdigest() for python in PYTHONS}}
WHERE = "implementation_name == 'cpython' and sys_platform == 'linux'"


@pytest.fixture(scope="module")
def renew() -> ModuleType:
    pytest.importorskip("packaging")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        patch.syspath_prepend(str(ROOT / "scripts/lock"))
        return import_module("renew")


def sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def package(*wheels: str, marker: str = WHERE, name: str = "made-up") -> dict[str, Any]:
    """A package as uv answers it."""
    files = [{"url": f"https://files/{w}", "hashes": {"sha256": sha256(w)}} for w in wheels]
    sdist = {"url": "https://files/made_up-1.tar.gz", "hashes": {"sha256": sha256("source")}}
    return {"name": name, "version": "1", "marker": marker, "wheels": files, "sdist": sdist}


@pytest.mark.parametrize(
    ("wheel", "pythons"),
    [
        ("a-1-py3-none-any.whl", PYTHONS),
        ("a-1-py2.py3-none-any.whl", PYTHONS),
        ("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", ("3.12",)),
        ("a-1-cp310-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", PYTHONS),
        ("a-1-cp312-abi3-manylinux_2_34_x86_64.whl", ("3.12", "3.13")),
        ("a-1-py3-none-manylinux1_x86_64.whl", PYTHONS),
        ("a-1-cp313-cp313t-manylinux_2_28_x86_64.whl", ()),
        ("a-1-cp314-cp314-manylinux_2_28_x86_64.whl", ()),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", ()),
        ("a-1-cp311-cp311-manylinux_2_28_aarch64.whl", ()),
        ("a-1-cp311-cp311-macosx_11_0_x86_64.whl", ()),
        ("a-1-cp311-cp311-win_amd64.whl", ()),
    ],
)
def test_a_wheel_is_taken_for_the_pythons_it_runs_on(
    renew: ModuleType, wheel: str, pythons: tuple[str, ...]
) -> None:
    assert tuple(python for python in PYTHONS if renew.fits(wheel, python)) == pythons


def test_the_source_is_locked_only_where_a_python_has_no_wheel(renew: ModuleType) -> None:
    wheels = [f"a-1-cp31{n}-cp31{n}-manylinux_2_28_x86_64.whl" for n in (1, 2, 3)]
    whole = renew.entry(package(*wheels, "a-1-cp311-cp311-win_amd64.whl"), TORCH)
    assert set(whole.hashes) == set(map(sha256, wheels))
    assert set(renew.entry(package(*wheels[:2]), TORCH).hashes) == {
        *map(sha256, wheels[:2]), sha256("source"),
    }  # fmt: skip
    assert renew.entry(package(), TORCH).hashes == (sha256("source"),)
    sourceless = package(*wheels[:2])
    del sourceless["sdist"]
    with pytest.raises(SystemExit, match="made-up==1 has no file for every Python"):
        renew.entry(sourceless, TORCH)


@pytest.mark.parametrize(
    ("marker", "kept"),
    [
        (WHERE, ""),
        (f"python_full_version < '3.14' and {WHERE}", ""),
        ("python_full_version < '3.12'", "python_full_version < '3.12'"),
        ("python_full_version <= '3.11.2'", "python_full_version <= '3.11.2'"),
        ("python_full_version < '3.11'", None),
        ("sys_platform == 'win32'", None),
    ],
)
def test_a_marker_stays_only_where_it_decides(
    renew: ModuleType, marker: str, kept: str | None
) -> None:
    entry = renew.entry(package("a-1-py3-none-any.whl", marker=marker), TORCH)
    assert (entry and entry.marker) == kept


def test_torch_s_hashes_are_not_the_index_s(renew: ModuleType) -> None:
    cuda = "torch-1-cp311-cp311-manylinux_2_28_x86_64.whl"
    entry = renew.entry(package(cuda, name="torch"), TORCH)
    assert set(entry.hashes) == set(TORCH["sha256"].values())


def test_versions_are_kept_from_a_lock_left_half_merged(renew: ModuleType) -> None:
    one, two = (str(renew.Entry(n, "1", "", (sha256(n),))) for n in ("one", "two"))
    kept = renew.preferred(f"# top\n<<<<<<< ours\n{one}=======\n{two}>>>>>>> theirs\n{one}")
    packages = renew.tomllib.loads(kept)["packages"]
    assert packages == [{"name": "one", "version": "1"}, {"name": "two", "version": "1"}]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that a renewal reads, with another pin of torch."""
    shutil.copytree(ROOT / "scripts/lock", tmp_path / "scripts/lock")
    for name in ("scripts/setup", "scripts/torch_source.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    project = (ROOT / "pyproject.toml").read_text()
    version = json.loads((ROOT / "scripts/lock/torch.json").read_text())["version"]
    (tmp_path / "pyproject.toml").write_text(project.replace(f"torch=={version}", "torch==9.8.7"))
    return tmp_path


def run(tree: Path, index: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{tree}/scripts:{tree}/scripts/lock",
             "PYTHONDONTWRITEBYTECODE": "1", "TORCH_INDEX": f"file://{index}"},
    )  # fmt: skip


def test_a_new_pin_of_torch_without_its_builds_is_refused_in_one_line(tree: Path) -> None:
    pytest.importorskip("packaging")
    before = {path: path.read_bytes() for path in sorted((tree / "scripts/lock").iterdir())}
    done = run(tree, tree / "nowhere", f"{tree}/scripts/lock/renew.py")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pyproject.toml pins torch==9.8.7" in line and "Set TORCH_INDEX" in line
    assert "No matching distribution found" in line
    after = {path: path.read_bytes() for path in sorted((tree / "scripts/lock").iterdir())}
    assert after == before


@pytest.mark.slow  # asks pip three times
def test_a_new_pin_of_torch_takes_its_builds_from_the_index(tree: Path) -> None:
    folder = tree / "index/torch"
    folder.mkdir(parents=True)
    names = [f"torch-9.8.7+cpu-cp31{n}-cp31{n}-manylinux_2_28_x86_64.whl" for n in (1, 2, 3)]
    for name in names:
        with zipfile.ZipFile(folder / name, "w") as wheel:
            about = "torch-9.8.7+cpu.dist-info"
            wheel.writestr(
                f"{about}/METADATA",
                "Metadata-Version: 2.1\nName: torch\nVersion: 9.8.7+cpu\n"
                "Requires-Dist: jinja2>=3\nRequires-Dist: optree ; extra == 'optree'\n",
            )
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\n")
    links = "".join(f'<a href="{name.replace("+", "%2B")}">{name}</a>\n' for name in names)
    (folder / "index.html").write_text(links)
    code = "import json, torch_builds; print(json.dumps(torch_builds.builds()))"
    done = run(tree, tree / "index", "-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "version": "9.8.7",
        "requires": ["jinja2>=3"],
        "sha256": {
            python: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for python, name in zip(PYTHONS, names, strict=True)
        },
    }
