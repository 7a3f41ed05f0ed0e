"""The set-up scripts: which torch, which Python; they believe nothing they have not tried."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def torch_source() -> ModuleType:
    spec = importlib.util.spec_from_file_location("torch_source", SCRIPTS / "torch_source.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def executable(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_torch_is_pinned_exactly_and_alike_in_every_extra(torch_source: ModuleType) -> None:
    assert torch_source.requirement().startswith("torch==")


@pytest.mark.parametrize(
    ("names", "cpu"),
    [
        (["torch", "sympy", "filelock"], True),
        (["torch", "nvidia-cublas-cu12", "triton"], False),
        (["torch", "NVIDIA-cudnn-cu13"], False),
        (["torch", "cuda-toolkit"], False),
    ],
)
def test_a_report_with_cuda_wheels_is_not_a_cpu_build(
    torch_source: ModuleType, monkeypatch: pytest.MonkeyPatch, names: list[str], cpu: bool
) -> None:
    report = json.dumps({"install": [{"metadata": {"name": name}} for name in names]})
    answer = SimpleNamespace(returncode=0, stdout=report, stderr="")
    monkeypatch.setattr(torch_source.subprocess, "run", lambda *args, **options: answer)
    assert torch_source.cpu_by_default() is cpu


def test_a_pip_that_finds_no_torch_means_the_cpu_index(
    torch_source: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = SimpleNamespace(returncode=1, stdout="", stderr="no matching distribution")
    monkeypatch.setattr(torch_source.subprocess, "run", lambda *args, **options: answer)
    assert torch_source.cpu_by_default() is False


def test_a_python_that_does_not_start_is_passed_over(tmp_path: Path) -> None:
    executable(tmp_path / "python3", "echo 'pyenv: command not found' >&2; exit 127")
    executable(tmp_path / "python3.11", f'exec "{sys.executable}" "$@"')
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    environment.pop("PYTHON", None)
    done = subprocess.run(
        [SCRIPTS / "find-python"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.strip() == sys.executable


def test_a_python_named_by_the_user_is_refused_with_the_reason(tmp_path: Path) -> None:
    broken = executable(tmp_path / "python", "exit 3")
    done = subprocess.run(
        [SCRIPTS / "find-python"], env={**os.environ, "PYTHON": str(broken)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{broken} does not fit" in done.stderr


def test_missing_system_packages_are_named_when_they_may_not_be_installed(tmp_path: Path) -> None:
    executable(tmp_path / "id", "echo 1000")
    executable(tmp_path / "ldconfig", "exit 0")
    done = subprocess.run(
        [SCRIPTS / "system-packages", "libusb", "gl"], capture_output=True, text=True,
        env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0
    assert "sudo apt-get install -y libusb-1.0-0" in done.stderr
    assert "sudo apt-get install -y libosmesa6" in done.stderr


# A machine where root's apt-get works but only for what ONLY names: libraries appear after it ran.
APT = """echo "$*" >> "$LOG"
case "$*" in update*) exit 0 ;; *"$ONLY"*) touch "$LOG.done" ;; *) exit 100 ;; esac"""
LDCONFIG = (
    '[ -e "$LOG.done" ] && printf "libOSMesa.so.8 (x)\\nlibEGL.so.1 (x)\\nlibEGL_mesa.so.0 (x)\\n"'
)


@pytest.mark.parametrize(
    ("only", "installs"),
    [
        ("libosmesa6", ["libosmesa6"]),
        ("libegl1", ["libosmesa6", "libegl1 libegl-mesa0"]),
        ("nothing", ["libosmesa6", "libegl1 libegl-mesa0"]),
    ],
)
def test_root_installs_what_is_missing_trying_the_next_when_one_is_not_to_be_had(
    tmp_path: Path, only: str, installs: list[str]
) -> None:
    executable(tmp_path / "id", "echo 0")
    executable(tmp_path / "ldconfig", LDCONFIG)
    executable(tmp_path / "apt-get", APT)
    log = tmp_path / "log"
    done = subprocess.run(
        [SCRIPTS / "system-packages", "gl"], capture_output=True, text=True,
        env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin", "LOG": str(log), "ONLY": only},
    )  # fmt: skip
    assert done.returncode == 0  # nothing here is indispensable
    lines = log.read_text().splitlines()
    assert [line for line in lines if line.startswith("update")] == ["update -qq"]
    assert [line.split("--no-install-recommends ")[1] for line in lines[1:]] == installs
    assert ("could not bring gl" in done.stderr) == (only == "nothing")


def test_what_is_there_is_not_installed_again(tmp_path: Path) -> None:
    executable(tmp_path / "id", "echo 0")
    executable(tmp_path / "ldconfig", 'echo "libOSMesa.so.8 (x)"')
    executable(tmp_path / "apt-get", "exit 99")
    done = subprocess.run(
        [SCRIPTS / "system-packages", "gl"], capture_output=True, text=True,
        env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
