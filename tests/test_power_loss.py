"""What a real ext4 holds when the power goes at any moment of a write: old or new, whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crashing import contents, make_old, output
from tests.test_crash_points import whole

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no image can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def found_after(case: str, folder: Path) -> list[object]:
    """What each copy of the image holds, in order; the last is of the moment after the write."""
    for tool in ("mkfs.ext4", "mount", "umount"):
        if os.geteuid() != 0 or shutil.which(tool) is None:
            pytest.skip(f"a file system of its own needs root and {tool}")
    image, copies = folder / "image", folder / "copies"
    copies.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "1024", "-J", "size=1", image], check=True)
    kind = "folder" if case == "careless" else case
    with mounted(image, folder / "mounted") as disk:
        make_old(disk / "0", kind)
        subprocess.run(["sync", "-f", disk], check=True)
        words = [sys.executable, "-m", "tests.losing_power", case, disk, image, copies]
        subprocess.run(words, cwd=ROOT, check=True)
    found = []
    for copy in sorted(copies.iterdir(), key=lambda x: int(x.name)):
        with mounted(copy, folder / "mounted") as disk:  # its journal is played back
            found.append(contents(output(disk / "0", kind)))
        copy.unlink()
    return found


@pytest.mark.parametrize("case", ["folder", "new-folder", "file"])
def test_a_loss_of_power_at_any_moment_leaves_old_or_new(
    case: str, tmp_path: Path, memory: Path
) -> None:
    found = found_after(case, memory / case)
    old, new = whole(case, tmp_path / "whole")
    seen = [(old, new).index(one) for one in found]
    assert seen == sorted(seen) and len(seen) > 9
    assert seen[0] == 0 and seen[-1] == 1  # on the disk when the writer is done


def test_a_writer_that_syncs_nothing_is_found_out(tmp_path: Path, memory: Path) -> None:
    old, _ = whole("folder", tmp_path / "whole")
    found = found_after("careless", memory / "careless")
    assert {"config.json": ""} in found and found[0] == old
