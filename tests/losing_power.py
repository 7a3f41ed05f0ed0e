"""Run a writer on a file system in an image, and copy the image before each of its system calls.

    python -m tests.losing_power CASE MOUNTED IMAGE COPIES

What the image holds is what a disk would hold if the power went then: files that were written but
not synced are not in it. Each time it is copied twice, the second time after the file system has
committed its journal, as it does by itself every few seconds: names are then ahead of contents.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from ofp_edge import durable
from tests.crashing import MARKER, NEW, Countdown, output, write_new


class Copies(Countdown):
    """Copies `image` to `folder`/0, 1, ... at every call, unless it is what the last copy is."""

    def __init__(self, mounted: Path, image: Path, folder: Path) -> None:
        super().__init__(-1, False)
        self.image, self.folder, self._last, self._busy = image, folder, b"", False
        self._other = os.open(mounted / "other", os.O_RDWR | os.O_CREAT)

    def tick(self, name: str, *what: Any) -> None:
        """One more call."""
        if not self._busy:
            self.copy()
            self._busy = True
            os.write(self._other, b"x")
            os.fsync(self._other)
            self._busy = False
            self.copy()

    def copy(self) -> None:
        """The image as it is now."""
        self._busy = True
        if (now := self.image.read_bytes()) != self._last:
            (self.folder / str(len(os.listdir(self.folder)))).write_bytes(now)
            self._last = now
        self._busy = False


def careless(folder: Path) -> None:
    """A writer that exchanges before anything is synced: what the copies must show to be wrong."""
    partial = folder / ".partial"
    partial.mkdir()
    (partial / MARKER).write_text(NEW)
    durable._renameat2(partial, output(folder, "folder"), 2)
    shutil.rmtree(partial)


def main(case: str, mounted: Path, image: Path, folder: Path) -> None:
    """Write once."""
    copies = Copies(mounted, image, folder)
    copies.install()
    if case == "careless":
        careless(mounted / "0")
    else:
        write_new(mounted / "0", case)
    copies.copy()


if __name__ == "__main__":
    main(sys.argv[1], *(Path(word) for word in sys.argv[2:5]))
