"""A log as a series of files: run.mcap, run.0002.mcap, ... each of them whole, and all together
bounded.

The first file stays, because it shows how the run began. The oldest of the others goes when one
more would take the series over its limit, or when the disk is nearly full.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofp_edge.errors import OfpError, OutputExists
from ofp_edge.files import check_output_file, new_file
from ofp_edge.runtime.log.file import NONE, LogFile
from ofp_edge.runtime.log.reader import later_files, read_header, series_of

FILES = 16
LEAST_MB, DEFAULT_MB = 16, 4096


def check_log(path: Path, *, force: bool) -> None:
    """Refuse a log before the run when its name, or a later file's, is taken. Raises OfpError."""
    check_output_file(path, force=force)
    if not force and (others := _of_other_runs(Path(os.path.realpath(path)), "")):
        raise OutputExists(others[0])


class LogSeries:
    """A writer of rows to the newest file of the series, for one thread at a time.

    `path` keeps its old content until the new file has its header; it may be a device, which has no
    other files. `limit_bytes` bounds all files together; for `schemas` see LogFile. Raises OfpError
    where `path` cannot be written; every method raises OSError or OfpError when the disk is full.
    """

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        limit_bytes: int,
        schemas: Mapping[str, dict[str, Any]] = NONE,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self._id, self._number, self._header = secrets.token_hex(8), 1, header
        self._schemas = schemas
        self._limit, self._file_limit = limit_bytes, limit_bytes // FILES
        self._later: deque[tuple[Path, int]] = deque()
        self._closed_bytes, self.deleted = 0, 0
        self._bounded = not _is_device(path)
        try:
            if not self._bounded:
                self._file = _open_device(path, self._full_header(), schemas)
                return
            self._file = self._begin(self.path)
        except OSError as cause:
            raise OfpError(f"log {path} can't be written: {cause.strerror}.") from None
        except OfpError as cause:
            raise OfpError(f"log {path} can't be written: {cause}") from None
        for other in _of_other_runs(self.path, self._id):
            other.unlink(missing_ok=True)

    @property
    def files(self) -> int:
        """The number of files there are now."""
        return self._number - self.deleted

    def add(self, topic: str, number: int, t_ns: int, wall_ns: int, data: bytes) -> bool:
        """Add one row; return whether it and all before it have left this process."""
        if self._bounded and self._file.is_full(self._file_limit):
            self._next()
        return self._file.add(topic, number, t_ns, wall_ns, data)

    def flush(self) -> None:
        """Let nothing wait, neither here nor on its way to the disk."""
        self._file.flush()
        self._file.sync()

    def finish(self) -> None:
        """Write the index of the newest file and close it."""
        self._file.finish()

    def _next(self) -> None:
        """Begin the next file, then end this one: until the run ends, a file lacks its end, so that
        a kill at any moment shows."""
        before, name = self._file, self._name
        self._number += 1
        try:
            self._file = self._begin(self._free_name())
        except BaseException:
            self._number -= 1
            raise
        size = before.finish()
        self._closed_bytes += size
        if self._number > 2:
            self._later.append((name, size))
        self._make_room()

    def _make_room(self) -> None:
        while self._later and (
            self._closed_bytes + self._file_limit > self._limit
            or shutil.disk_usage(self.path.parent).free < 2 * self._file_limit
        ):
            oldest, size = self._later.popleft()
            with contextlib.suppress(OSError):
                oldest.unlink(missing_ok=True)
            self._closed_bytes -= size
            self.deleted += 1

    def _begin(self, path: Path) -> LogFile:
        with new_file(path) as partial:
            stream = partial.open("wb")
            try:
                file = LogFile(stream, self._full_header(), self._schemas)
                file.flush()
            except BaseException:
                with contextlib.suppress(OSError):
                    stream.close()
                raise
        self._name = path
        return file

    def _full_header(self) -> dict[str, Any]:
        series = {"id": self._id, "number": self._number, "name": self.path.name}
        return {**self._header, "series": series}

    def _free_name(self) -> Path:
        number = self._number
        while (path := self.path.with_name(later_name(self.path, number))).exists():
            number += 1
        return path


def later_name(path: Path, number: int) -> str:
    """Name a later file: run.mcap, 2 -> run.0002.mcap."""
    return f"{path.stem}.{number:04d}{path.suffix}"


def _of_other_runs(path: Path, own_id: str) -> list[Path]:
    """Return the later files of runs that logged to `path` before; those of other logs are not
    among them, whatever their names."""
    found = []
    for file in later_files(path):
        with contextlib.suppress(OfpError):
            series = series_of(read_header(file), file)
            if series.name == path.name and series.id != own_id:
                found.append(file)
    return found


def _is_device(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _open_device(
    path: Path, header: dict[str, Any], schemas: Mapping[str, dict[str, Any]]
) -> LogFile:
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    if stat.S_ISFIFO(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ESPIPE, "it is a FIFO")
    return LogFile(os.fdopen(handle, "wb"), header, schemas, synced=False)
