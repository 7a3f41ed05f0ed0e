"""torch's CPU builds: their requirements and sha256, in scripts/lock/torch.json.

The package index's torch for x86-64 Linux is a CUDA build, with other requirements and hashes, so
what uv finds there is not what setup installs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lock import PYTHONS
from torch_source import requirement

BUILDS = Path(__file__).with_name("torch.json")
PLATFORM = "manylinux_2_28_x86_64"

# pip's own configuration could bring any other build of the same version.
ELSEWHERE = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CONSTRAINT")


def ask(version: str, python: str, index: str) -> dict[str, Any]:
    """What pip says of the build for one Python: an item of its installation report.

    Where the index serves metadata apart from the wheel, no wheel is downloaded.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", PLATFORM, "--python-version", python]
    command += ["--report", "-", "--index-url", index, f"torch=={version}"]
    environment = {k: v for k, v in os.environ.items() if k not in ELSEWHERE}
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**environment, "PIP_CONFIG_FILE": os.devnull},
    )  # fmt: skip
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1].removeprefix("ERROR: ")
        sys.exit(
            f"lock: pyproject.toml pins torch=={version}; {index} does not bring its CPU build for "
            f"Python {python} ({PLATFORM}; pip: {said}). Set TORCH_INDEX to an index that does."
        )
    item: dict[str, Any] = json.loads(done.stdout)["install"][0]
    return item


def fetched(version: str, index: str) -> dict[str, Any]:
    """The content of torch.json for this version, from the index."""
    items = {python: ask(version, python, index) for python in PYTHONS}
    requires = {r for item in items.values() for r in item["metadata"].get("requires_dist", ())}
    return {
        "version": version,
        "requires": sorted(line for line in requires if "extra ==" not in line),
        "sha256": {
            python: item["download_info"]["archive_info"]["hashes"]["sha256"]
            for python, item in items.items()
        },
    }


def builds() -> dict[str, Any]:
    """The builds of the pinned version: those in torch.json, or the index's if it has others."""
    known: dict[str, Any] = json.loads(BUILDS.read_text(encoding="utf-8"))
    version = requirement().split("==")[1]
    return known if known["version"] == version else fetched(version, os.environ["TORCH_INDEX"])
