"""Which torch would come, and which one is there: keeps CUDA wheels out of .venv unless asked for.

torch_source.py requirement      print the pinned requirement, e.g. torch==2.13.0
torch_source.py cpu-by-default [SHA256...]
                                 exit 0 if pip, configured as it is, brings a build without CUDA,
                                 and one of these files where any are named
torch_source.py installed        exit 0 if the pinned torch is installed
torch_source.py has-cuda         exit 0 if a wheel of CUDA's is installed
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirement() -> str:
    """The one exact pin of torch in pyproject.toml."""
    pins: set[str] = set(re.findall(r'"(torch==[^";]+)"', PYPROJECT.read_text(encoding="utf-8")))
    if len(pins) != 1:
        sys.exit(f"setup: pyproject.toml must pin torch once and for all, it has {sorted(pins)}")
    return pins.pop()


def is_cuda(name: str) -> bool:
    """Whether a distribution of this name belongs to a CUDA build of torch."""
    return name.lower().startswith(("nvidia-", "cuda-bindings", "cuda-toolkit"))


def names_in_report(report: str) -> list[str]:
    """The distributions that `pip install --report` says it would install."""
    return [str(item["metadata"]["name"]) for item in json.loads(report)["install"]]


def torch_in_report(report: str) -> str:
    """The sha256 of torch's file in such a report."""
    items = {str(item["metadata"]["name"]).lower(): item for item in json.loads(report)["install"]}
    return str(items["torch"]["download_info"]["archive_info"]["hashes"]["sha256"])


def cpu_by_default(hashes: Collection[str] = ()) -> bool:
    """Ask pip, with the user's own configuration, what installing torch would bring.

    A pip that cannot resolve it at all (no index, no wheel) counts as "no", and so does a file
    of another sha256 than `hashes`, where they are given.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--dry-run", "--ignore-installed", "--report", "-", requirement()]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        return False
    if any(is_cuda(name) for name in names_in_report(done.stdout)):
        return False
    return not hashes or torch_in_report(done.stdout) in hashes


def installed() -> bool:
    """Whether the pinned torch is in this environment, whatever its build."""
    try:
        return metadata.version("torch").split("+")[0] == requirement().split("==")[1]
    except metadata.PackageNotFoundError:
        return False


def has_cuda() -> bool:
    """Whether this environment holds wheels of CUDA's."""
    return any(is_cuda(str(d.metadata["Name"])) for d in metadata.distributions())


def main() -> None:
    """See the module's docstring."""
    answers = {"installed": installed, "has-cuda": has_cuda}
    command, hashes = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command == "cpu-by-default":
        sys.exit(0 if cpu_by_default(hashes) else 1)
    elif command == "requirement" and not hashes:
        print(requirement())
    elif command in answers and not hashes:
        sys.exit(0 if answers[command]() else 1)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
