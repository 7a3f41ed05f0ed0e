"""scripts/setup: what it asks of pip, where the lock decides and where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A Python that writes down what pip is asked, and makes copies of itself instead of .venv.
PYTHON = """#!/bin/bash
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python; echo anew >>"$LOG" ;;
  *"-m pip"*"/dev/stdin"*) echo "$* < $(grep -o '^[a-z-]*==' | tr '\\n' ' ')" >>"$LOG" ;;
  "-m pip"*) echo "$*" >>"$LOG" ;;
  "-V") echo Python 3 ;;
  *torch_source.py*cpu-by-default*) echo "$*" >>"$LOG"; exit "$NOT_BY_DEFAULT" ;;
  *torch_source.py*installed | *torch_source.py*has-cuda) exit 1 ;;
  *lock.py*unnamed) echo "$UNNAMED" ;;
  *) exec "$REAL" -S "$@" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The set-up scripts beside stand-ins for what would change the machine."""
    for name in ("pyproject.toml", "scripts/setup", "scripts/torch_source.py", "scripts/lock",
                 "scripts/wheels", "scripts/python_fits.py"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "native").mkdir()
    (tmp_path / "bin").mkdir()
    texts = {
        "scripts/find-python": "#!/bin/sh\necho python-that-notes\n",
        "scripts/system-packages": "#!/bin/sh\n",
        "bin/python-that-notes": PYTHON,
        "bin/uname": '#!/bin/sh\necho "$SYSTEM"\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def set_up(clone: Path, **variables: str) -> tuple[list[str], str]:
    """What pip was asked, without the part that every call has, and what setup said."""
    log = clone / "log"
    log.write_text("")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "ALLOW_CUDA")}
    done = subprocess.run(
        [clone / "scripts/setup"], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**environment, "PATH": f"{clone}/bin:{os.environ['PATH']}", "LOG": str(log),
             "REAL": sys.executable, "SYSTEM": "Linux x86_64", "NOT_BY_DEFAULT": "1",
             "UNNAMED": "", "CXX": "no-such-compiler", "TORCH_INDEX": "the-index", **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    prefix = "-m pip --disable-pip-version-check install --quiet "
    return [line.removeprefix(prefix) for line in log.read_text().splitlines()], done.stderr


BY_HASH = "--require-hashes --no-deps --requirement /dev/stdin"
LOCKED = "--require-hashes --no-build-isolation --requirement scripts/lock/requirements.txt"


def test_everything_comes_by_hash_and_nothing_is_built_with_tools_off_an_index(
    clone: Path,
) -> None:
    asked, said = set_up(clone)
    anew, tools, default, torch, rest, project = asked
    assert anew == "anew"
    assert tools == f"{BY_HASH} < pip== setuptools== "
    assert default.count(" ") == 4 and "cpu-by-default" in default  # and the three hashes
    assert torch == f"{BY_HASH} --index-url the-index < torch== "
    assert rest == LOCKED
    assert project.startswith("--no-index --no-build-isolation --check-build-dependencies ")
    assert "installing torch==" in said and "the-index" in said


def test_torch_comes_by_hash_from_pip_s_own_configuration_too(clone: Path) -> None:
    asked, _ = set_up(clone, NOT_BY_DEFAULT="0")
    assert f"{BY_HASH} < torch== " in asked


def test_a_cuda_torch_is_the_one_thing_that_comes_without_a_hash(clone: Path) -> None:
    asked, _ = set_up(clone, ALLOW_CUDA="1")
    free = [line for line in asked[1:] if "--require-hashes" not in line]
    assert [line.partition("==")[0] for line in free if "--no-index" not in line] == ["torch"]
    assert asked[-2] == LOCKED


@pytest.mark.parametrize("system", ["Linux aarch64", "Darwin arm64"])
def test_a_machine_outside_the_lock_takes_the_ranges_and_says_so(clone: Path, system: str) -> None:
    asked, said = set_up(clone, SYSTEM=system)
    assert "--require-hashes" not in " ".join(asked)
    assert asked[-1].startswith("--editable .[train,")
    assert [line for line in said.splitlines() if "no lock for" in line] == [
        f"setup: no lock for {system}: pip chooses versions within pyproject.toml's ranges"
    ]


def test_a_changed_lock_brings_the_same_environment_to_it(clone: Path) -> None:
    set_up(clone)
    assert set_up(clone)[0] == []
    with (clone / "scripts/lock/requirements.txt").open("a") as lock:
        lock.write(f"another==1 \\\n    --hash=sha256:{'0' * 64}\n")
    asked, _ = set_up(clone)
    assert "anew" not in asked and LOCKED in asked


def test_an_environment_with_packages_that_the_lock_does_not_name_is_made_anew(
    clone: Path,
) -> None:
    set_up(clone)
    (clone / ".venv/ofp-edge-setup").write_text("an older lock")
    asked, said = set_up(clone, UNNAMED="one\ntwo")
    assert asked[0] == "anew"
    assert "the lock does not name one, two" in said
    (clone / ".venv/ofp-edge-setup").write_text("an older lock")
    assert "anew" not in set_up(clone, UNNAMED="one\ntwo", ALLOW_CUDA="1")[0]
