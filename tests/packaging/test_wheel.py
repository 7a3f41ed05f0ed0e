"""What is built, and what a bare installation of it can do: the robot's side, without torch."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import absent

pytestmark = pytest.mark.slow  # builds, and installs from the package index

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("quantize", "targets", "calibration")
HEAVY = ("torch", "onnxruntime", "executorch", "zarr", "mujoco", "pyrealsense2", "scipy", "cv2")

# The layers that must import on a robot: everything but what the workstation alone needs.
WORKSTATION = (
    "policy", "train", "data", "sim", "evaluate", "quantize", "targets", "bench", "imports",
    "calibration.choose", "calibration.coverage", "calibration.samples", "calibration.windows",
)  # fmt: skip

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
import ofp_edge
skip = tuple("ofp_edge." + name for name in sys.argv[1].split(","))
names = ["ofp_edge"]
for found in pkgutil.walk_packages(ofp_edge.__path__, "ofp_edge.", onerror=lambda name: None):
    outside = found.name.startswith(tuple(s + "." for s in skip)) or found.name in skip
    if not (outside or found.name.endswith("__main__")):
        importlib.import_module(found.name)
        names.append(found.name)
heavy = [name for name in sys.argv[2].split(",") if name in sys.modules]
print(json.dumps({"names": names, "heavy": heavy, "file": ofp_edge.__file__}))
"""


def run(*command: object, **options: object) -> str:
    """Run a command outside the repository; its output, or a failure that shows it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**environment, "PYTHONNOUSERSITE": "1"}, **options,
    )  # type: ignore[call-overload]  # fmt: skip
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return str(done.stdout)


def python310() -> Path:
    """A Python 3.10 that really starts: pyenv's shims stand on PATH for versions that do not."""
    candidates = [shutil.which("python3.10"), "/usr/bin/python3.10"]
    shim = (shutil.which("python3") or "").partition("/shims/")[0]
    for root in (os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv", shim):
        if root:
            candidates += sorted(map(str, Path(root).glob("versions/3.10.*/bin/python")))
    for candidate in candidates:
        if candidate is None or not Path(candidate).exists():
            continue
        code = "import sys, venv, ensurepip; print(sys.version_info[:2] == (3, 10))"
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if done.stdout.strip() == "True":
            return Path(candidate)
    absent("no Python 3.10 that starts: install one (pyenv install 3.10)")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built by hatchling's own command."""
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", out, cwd=ROOT)
    return next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the unpacked source distribution as an installer would."""
    out = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    source = next(path for path in out.iterdir() if path.is_dir())
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=source)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module", params=["this python", "python 3.10"])
def bare(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A fresh environment with the wheel and its base requirements, no extra: its bin folder."""
    base = Path(sys.executable) if request.param == "this python" else python310()
    folder = tmp_path_factory.mktemp("bare")
    run(base, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    yield folder / "bin"
    shutil.rmtree(folder, ignore_errors=True)


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_linked_packages_as_real_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        links = [
            i.filename for i in archive.infolist() if (i.external_attr >> 16) & 0o120000 == 0o120000
        ]
        held = set(archive.namelist())
    assert links == []
    for package in LINKED:
        here = {
            f"ofp_edge/{path.relative_to(ROOT).as_posix()}"
            for path in (ROOT / package).rglob("*")
            if path.is_file() and path.suffix in (".py", ".json")
        }
        assert here and here <= held


def test_the_wheel_installs_no_bare_name(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ofp_edge"}


def test_the_wheel_built_from_the_sdist_holds_every_module_of_the_tree(wheel: Path) -> None:
    tree = {
        path.relative_to(ROOT).as_posix()
        for folder in ("", *LINKED)
        for path in (ROOT / "ofp_edge" / folder).rglob("*.py")
    }
    assert tree <= set(names_in(wheel))


def test_the_wheel_holds_the_shipped_suites(wheel: Path) -> None:
    suites = (ROOT / "ofp_edge/bench/suites").glob("*.toml")
    assert {path.relative_to(ROOT).as_posix() for path in suites} <= set(names_in(wheel))


def test_the_robot_side_imports_bare_and_without_torch(bare: Path, tmp_path: Path) -> None:
    answer = json.loads(
        run(bare / "python", "-c", IMPORT_EVERYTHING, ",".join(WORKSTATION), ",".join(HEAVY),
            cwd=tmp_path)
    )  # fmt: skip
    assert "site-packages" in answer["file"]
    assert answer["heavy"] == []
    got = set(answer["names"])
    assert {"ofp_edge.bundle", "ofp_edge.preprocess", "ofp_edge.cli.run"} <= got
    for layer in ("runtime", "profile", "cli", "doctor", "calibration"):
        assert any(name.startswith(f"ofp_edge.{layer}.") for name in got)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["doctor"]])
def test_commands_answer_in_a_bare_installation(
    bare: Path, arguments: list[str], tmp_path: Path
) -> None:
    assert run(bare / "ofp-edge", *arguments, cwd=tmp_path).strip()


def test_a_missing_extra_names_the_pip_line(bare: Path, wheel: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(bare / "ofp-edge"), "collect", "metaworld/door-open", "-n", "1", "-o", "d.zarr"],
        capture_output=True, text=True, cwd=tmp_path, stdin=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
    )  # fmt: skip
    assert done.returncode == 1
    line = f"Run: {bare / 'python'} -m pip install --find-links {wheel.parent} 'ofp-edge[sim]'"
    if "3.10" in run(bare / "python", "-V"):
        line = "zarr is not installed. It needs Python 3.11 or newer"
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctors_own_lines_bring_the_engines(bare: Path, dist: Path, tmp_path: Path) -> None:
    """The last test here: it installs into the bare environment, by the lines as printed."""

    def engines() -> dict[str, dict[str, str]]:
        checks = json.loads(run(bare / "ofp-edge", "doctor", "--json", cwd=tmp_path))["checks"]
        return {x["name"]: x for x in checks if x["name"].startswith("engine ")}

    for finding in engines().values():
        assert finding["status"] == "absent"
        line, placeholder, _ = finding["remedy"].partition(" (DIST: ")
        if placeholder:  # this wheel was built alone
            line = line.replace("--find-links DIST", f"--find-links {shlex.quote(str(dist))}")
        run("bash", "-c", line, cwd=tmp_path)
    assert {x["status"] for x in engines().values()} == {"ok"}
