"""An entry of the cache: a field's values in one flat file, and which episodes of it are done.

    <folder>/frames/<key>/values    (T, *shape), raw
                          done      one byte an episode: 0 not yet, 1 nothing to see in it, 2 done
                          about.json
    <folder>/frames/<key>.lock      held exclusively by who writes or deletes it, shared by readers

The key is the hash of everything that shapes the values. Only whole episodes that are on the disk
are marked as done; so a kill costs those that were being made.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError, OfpError
from ofp_edge.files import canonical_json, read_json, sha256_bytes, write_json
from ofp_edge.strict import read_as

FOLDER, ABOUT, VALUES, DONE = "frames", "about.json", "values", "done"
EMPTY, SEEN = 1, 2
_VERSION = 1


@dataclass(frozen=True)
class About:
    """Says what an entry holds. dataset: its name; field: its name; shape: (T, *shape)."""

    dataset: str
    field: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """The size of its values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def key_of(identity: dict[str, Any]) -> str:
    """Return the key for what shapes the values: plain JSON."""
    return sha256_bytes(canonical_json({"version": _VERSION, **identity}))[:32]


class Entry:
    """The entry `key` in a cache's folder, whether or not it exists."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / FOLDER / key
        self._lock = folder / FOLDER / f"{key}.lock"

    @property
    def used_s(self) -> float:
        """When it was last used, seconds since 1970; 0 for a damaged one."""
        with contextlib.suppress(OSError):
            return (self.path / ABOUT).stat().st_mtime
        return 0.0

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold it alone; `waiting` is called once where another process has it."""
        with _open_lock(self._lock) as handle:
            if not _try(handle, fcntl.LOCK_EX):
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def mapped(self, about: About) -> NDArray[Any] | None:
        """Map its values for reading, and keep it from being deleted as long as they are used; None
        where it is not whole. DatasetError where it can't be mapped."""
        handle = _opened(self._lock)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            if self.about() != about or not len(done := self.done()) or not done.all():
                return None
            os.utime(self.path / ABOUT)  # its last use
            values = np.memmap(self.path / VALUES, about.dtype, "r", shape=about.shape)
            weakref.finalize(values, os.close, handle)
            handle = -1
            return values
        except (OSError, ValueError) as cause:
            raise DatasetError(f"{self.path}: cannot be mapped: {cause}") from None
        finally:
            if handle >= 0:
                os.close(handle)

    def begin(self, about: About, episodes: int) -> NDArray[np.uint8]:
        """Make it, or find what was made of it; return which episodes are done. OSError where the
        disk has no room for it all."""
        if self.about() != about or len(done := self.done()) != episodes:
            self.delete()
            self.path.mkdir(parents=True)
            with (self.path / VALUES).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(1, about.bytes))
            (self.path / DONE).write_bytes(bytes(episodes))
            write_json(self.path / ABOUT, asdict(about))  # last: without it there is no entry
            done = self.done()
        return done

    def about(self) -> About | None:
        """What it holds, None where it is not there or damaged."""
        with contextlib.suppress(OfpError, OSError):
            value = read_json(self.path / ABOUT, OfpError)
            found = read_as(About, value, str(self.path / ABOUT), OfpError)
            if (self.path / VALUES).stat().st_size >= found.bytes:
                return found
        return None

    def done(self) -> NDArray[np.uint8]:
        """(E,) one number an episode."""
        with contextlib.suppress(OSError):
            return np.frombuffer((self.path / DONE).read_bytes(), np.uint8)
        return np.zeros(0, np.uint8)

    def write(
        self, about: About, first: int, values: NDArray[Any], episode: int, mark: int
    ) -> None:
        """Write an episode's values, which begin at frame `first`, and mark it when they are on
        the disk."""
        row = about.bytes // about.shape[0]
        with (self.path / VALUES).open("r+b") as file:
            view, at = np.ascontiguousarray(values).data.cast("B"), first * row
            while view:
                wrote = os.pwrite(file.fileno(), view, at)
                view, at = view[wrote:], at + wrote
            os.fdatasync(file.fileno())
        with (self.path / DONE).open("r+b") as file:
            os.pwrite(file.fileno(), bytes([mark]), episode)
            os.fdatasync(file.fileno())

    def delete(self) -> None:
        """Delete it; only while it is locked."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / ABOUT).unlink()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)

    def delete_unused(self) -> bool:
        """Delete it unless a process has it; return whether it is gone."""
        with _open_lock(self._lock) as handle:
            if not _try(handle, fcntl.LOCK_EX):
                return False
            self.delete()
            return True


def entries(folder: Path) -> list[Entry]:
    """Return the entries there are, the longest unused one first."""
    found = []
    with contextlib.suppress(OSError):
        found = [Entry(folder, x.name) for x in (folder / FOLDER).iterdir() if x.is_dir()]
    return sorted(found, key=lambda x: (x.used_s, x.path.name))


@contextlib.contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    handle = _opened(path)
    try:
        yield handle
    finally:
        os.close(handle)


def _opened(lock: Path) -> int:
    lock.parent.mkdir(parents=True, exist_ok=True)
    return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _try(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
