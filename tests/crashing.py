"""Run writers again and again, each time stopped at another of their system calls.

    python -m tests.crashing FOLDER

For each case and each k = 0, 1, ... a fork makes the old artefact in FOLDER/CASE-HOW/k and runs the
writer. Before its k-th call that changes or syncs something on the disk the fork ends at once (HOW
exit), or the call finds a full disk (HOW full). The last fork comes to its end; its calls are
printed as JSON.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ofp_edge import durable
from ofp_edge.errors import OfpError
from ofp_edge.files import new_folder, remove_folder, write_bytes

MARKER = "config.json"
OLD, NEW = '{"schema_version": 1, "is": "old"}', '{"schema_version": 1, "is": "new"}'
CASES = ("folder", "new-folder", "aside", "file", "new-file", "remove")
_CALLS = ("chmod", "fsync", "mkdir", "open", "rename", "replace", "rmdir", "unlink")
_FINISHED, _STOPPED = 7, 8


class Countdown:
    """Counts the calls of a writer; the one that comes when none is left is never made."""

    def __init__(self, left: int, full: bool) -> None:
        self.left, self.full = left, full
        self.calls: list[list[str]] = []

    def tick(self, name: str, *what: Any) -> None:
        """One more call, of a name or of an open handle."""
        if len(self.calls) == self.left:
            if not self.full:
                os._exit(_STOPPED)
            self.left = -1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        names = [os.readlink(f"/proc/self/fd/{x}") if isinstance(x, int) else str(x) for x in what]
        self.calls.append([name, *names])

    def install(self) -> None:
        """Count from here on, in the standard library too."""
        for name in _CALLS:
            setattr(os, name, self._counted(name, getattr(os, name), 2 if "re" in name else 1))
        durable._renameat2 = self._counted("renameat2", durable._renameat2, 2)
        plain = io.open

        def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            if "w" not in mode:
                return plain(file, mode, *args, **options)
            self.tick("create", file)
            return _Halves(plain(file, mode, *args, **options), lambda: self.tick("write", file))

        io.open = builtins.open = opened

    def _counted(self, name: str, call: Callable[..., Any], count: int) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            harmless = name == "open" and not args[1] & os.O_CREAT
            if not (harmless or (self.full and name in ("rmdir", "unlink"))):
                self.tick(name, *args[:count])
            return call(*args, **options)

        return counted


class _Halves:
    """A file that is written in two calls, so that it is also found half written."""

    def __init__(self, file: Any, between: Callable[[], None]) -> None:
        self._file, self._between = file, between

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Halves:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> None:
        """All of `data`."""
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._between()
        self._file.write(data[len(data) // 2 :])


def output(folder: Path, case: str) -> Path:
    """What a case writes; its parent is new where nothing stands there before."""
    return folder / "deep" / "out" if case.startswith("new") else folder / "out"


def make_old(folder: Path, case: str) -> None:
    """What stands there before."""
    folder.mkdir(parents=True)
    if case == "file":
        (folder / "out").write_text(OLD)
    elif not case.startswith("new"):
        (folder / "out").mkdir()
        (folder / "out" / MARKER).write_text(OLD)
        (folder / "out" / "weights").write_text("old weights")


def write_new(folder: Path, case: str) -> None:
    """The writer under test."""
    out = output(folder, case)
    if case == "remove":
        remove_folder(out)
    elif case.endswith("file"):
        write_bytes(out, NEW.encode())
    else:
        with new_folder(out, force=True, marker=MARKER) as partial:
            (partial / MARKER).write_text(NEW)
            (partial / "deeper").mkdir()
            (partial / "deeper" / "weights").write_text("new weights")


def contents(path: Path) -> Any:
    """A file's text, a folder's texts by name, or None."""
    if path.is_file():
        return path.read_text()
    if not path.exists():
        return None
    return {p.relative_to(path).as_posix(): p.read_text() for p in path.rglob("*") if p.is_file()}


def _run(folder: Path, case: str, countdown: Countdown) -> None:
    if case == "aside":  # a file system that can't exchange
        durable._renameat2 = lambda old, new, flags: False
    countdown.install()
    try:
        write_new(folder, case)
    except OfpError:
        os._exit(_STOPPED)
    if countdown.left < 0:  # what could not be cleared up is left for the next writer
        os._exit(_STOPPED)
    os.write(1, json.dumps(countdown.calls).encode())
    os._exit(_FINISHED)


def stop_everywhere(case: str, how: str, root: Path) -> list[list[str]]:
    """One fork for each call; the calls of the last one."""
    for k in range(500):
        make_old(root / str(k), case)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writing, 1)
            try:
                _run(root / str(k), case, Countdown(k, how == "full"))
            finally:
                os._exit(9)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == _FINISHED:
            return json.loads(said)
        if code != _STOPPED:
            sys.exit(f"{case}, {how}, call {k}: exit code {code}")
    sys.exit(f"{case}, {how}: no end")


def main(root: Path) -> None:
    """Every case in every way."""
    calls = {
        f"{case}-{how}": stop_everywhere(case, how, root / f"{case}-{how}")
        for case in CASES for how in ("exit", "full")
    }  # fmt: skip
    sys.stdout.write(json.dumps(calls))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
