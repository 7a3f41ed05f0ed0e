"""What a case does beyond its artefact: files it opens, programs it starts, memory it takes.

Python's own audit hook sees what Python opens. Libraries in C (HDF5, Arrow, FFmpeg) open by
themselves: for them a folder of bait lies beside the artefact, which inotify watches.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

BAIT = "outside"
"""The folder beside the artefact that references lead to; nothing in it may be opened."""
CACHE = "cache"
"""The folder beside the artefact that stands for the user's cache, in which readers may write."""
_IN_OPEN, _IN_NONBLOCK = 0x20, 0x800
_ALSO = (
    "/proc/",
    "/sys/",
    "/dev/null",
    "/dev/urandom",
    "/dev/zero",
    "/usr/share/zoneinfo/",
    "/etc/localtime",
)
_FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "socket.connect",
    "socket.bind",
    "pickle.find_class",
    "ctypes.dlopen",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "shutil.rmtree",
)


class Watch:
    """One in a process: an audit hook can't be taken off again. `begin`, a case, `end`."""

    def __init__(self, may: tuple[str, ...] = ()) -> None:
        self._forbidden = frozenset(_FORBIDDEN) - set(may)
        self._home: str | None = None
        self._homes: set[str] = set()
        self._odd: list[str] = []
        self._busy = False
        self._code = tuple(
            os.path.realpath(path) + "/"
            for path in {sys.prefix, sys.base_prefix, *filter(None, map(os.path.abspath, sys.path))}
        )
        self._inotify = ctypes.CDLL(None, use_errno=True)
        self._handle = self._inotify.inotify_init1(_IN_NONBLOCK)
        sys.addaudithook(self._hear)

    def begin(self, home: Path) -> None:
        """From now on a case is read, whose artefact lies in `home`."""
        self._odd = []
        for folder in (home / BAIT, *(p for p in (home / BAIT).rglob("*") if p.is_dir())):
            self._inotify.inotify_add_watch(self._handle, os.fsencode(folder), _IN_OPEN)
        self._drain()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        self._before_kb = _status("VmRSS")
        self._home = os.path.realpath(home) + "/"
        self._homes.add(self._home)

    def end(self) -> tuple[list[str], float]:
        """What it did that no reader may, and the memory that it took at its peak, MiB."""
        self._home = None
        if self._drain():
            self._odd.append(f"opened something in {BAIT}/")
        return self._odd, max(0, _status("VmHWM") - self._before_kb) / 1024

    def _drain(self) -> bool:
        try:
            return bool(os.read(self._handle, 1 << 16))
        except BlockingIOError:
            return False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._home is None or self._busy:
            return
        self._busy = True
        try:
            if event == "open":
                self._opened(arguments[0])
            elif event in self._forbidden and not self._is_ours(event, arguments):
                self._odd.append(f"{event} {str(arguments)[:120]}")
        finally:
            self._busy = False

    def _opened(self, path: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a handle that was opened before
        try:
            real = os.path.realpath(os.fsdecode(path))
        except (OSError, ValueError):
            return  # no path: opening it fails
        if real == os.path.realpath(tempfile.gettempdir()):
            return  # O_TMPFILE: a file of its own without a name
        if not self._is_own(real) and not real.startswith((*self._code, *_ALSO)):
            self._odd.append(f"opened {real[:200]}")

    def _is_own(self, real: str) -> bool:
        """In the artefact, or in an earlier case's, by a thread that its refusal left reading."""
        inside = next((home for home in self._homes if real.startswith(home)), None)
        return inside is not None and not real.startswith(f"{inside}{BAIT}")

    def _is_ours(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """A library's own code, loaded late; a reader's own folder for what it remembers."""
        if event == "ctypes.dlopen":
            name = arguments[0]
            return name is None or os.path.realpath(str(name)).startswith(self._code)
        paths = [x for x in arguments if isinstance(x, (str, bytes, os.PathLike))]
        own = f"{self._home}{CACHE}/"
        return bool(paths) and all(os.path.realpath(os.fsdecode(x)).startswith(own) for x in paths)


def lay_bait(home: Path) -> None:
    """What damaged references lead to: a file that is not there is never opened."""
    for name in ("a", "folder/a"):
        file = home / BAIT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"bait")


def _status(key: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{key}:"))
