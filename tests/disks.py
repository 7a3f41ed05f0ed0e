"""Small disks of their own: a tmpfs, which only root may mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, *, taken_bytes: int = 0, size_bytes: int = 65_536) -> Iterator[Path]:
    """A disk mounted at `folder`, which is made; so many bytes of it are taken by the file
    "others", if any. Skips the test where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        if taken_bytes:
            (folder / "others").write_bytes(bytes(taken_bytes))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
