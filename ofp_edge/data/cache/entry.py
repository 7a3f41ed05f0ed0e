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
import dataclasses
import errno
import fcntl
import math
import os
import re
import shutil
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.files import canonical_json, read_json, sha256_bytes, write_json
from ofp_edge.strict import read_as

FOLDER, ABOUT, VALUES, DONE = "frames", "about.json", "values", "done"
EMPTY, SEEN = 1, 2
_KEY = re.compile("[0-9a-f]{32}")
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_VERSION = 1


@dataclass(frozen=True)
class About:
    """Says what an entry holds. dataset: its name; field: its name; shape: (T, *shape)."""

    dataset: str = dataclasses.field(compare=False)  # of equal ones the first has given it its name
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
    def alone(self) -> Iterator[bool]:
        """Hold it alone, and say so; say False where another process has it."""
        with _open_lock(self._lock) as handle:
            yield _try(handle, fcntl.LOCK_EX)

    def mapped(self, about: About) -> NDArray[Any] | None:
        """Map its values for reading, and keep it from being deleted as long as they are used; None
        where it is not whole. OSError where it can't be mapped."""
        if not self._whole(about):  # another process may be making it: nothing to wait for
            return None
        handle = _opened(self._lock)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            if not self._whole(about):
                return None
            with contextlib.suppress(OSError):  # a cache of another user's
                os.utime(self.path / ABOUT)  # its last use
            values = np.memmap(self.path / VALUES, about.dtype, "r", shape=about.shape)
            weakref.finalize(values, os.close, handle)
            handle = -1
            return values
        finally:
            if handle >= 0:
                os.close(handle)

    def _whole(self, about: About) -> bool:
        return self.about() == about and len(done := self.done()) > 0 and bool(made_of(done).all())

    def begin(self, about: About, episodes: int) -> NDArray[np.uint8]:
        """Make it, or find what was made of it; return which episodes are done. OSError where the
        disk has no room for it all."""
        if self.about() != about or len(done := self.done()) != episodes:
            self.delete()
            self.path.mkdir(parents=True)
            try:
                with (self.path / VALUES).open("wb") as file:
                    _take_room(file.fileno(), max(1, about.bytes))
            except OSError:
                self.delete()  # a disk that is full must not stay so
                raise
            (self.path / DONE).write_bytes(bytes(episodes))
            write_json(self.path / ABOUT, asdict(about))  # last: without it there is no entry
            done = self.done()
        return done

    def about(self) -> About | None:
        """What it holds, None where it is not there or damaged."""
        with contextlib.suppress(OfpError, OSError, TypeError, ValueError):  # or no dtype
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

    def write(self, about: About, first: int, blocks: Iterable[NDArray[Any]]) -> None:
        """Write an episode's values, which begin at frame `first`, and see them onto the disk."""
        at = first * (about.bytes // about.shape[0])
        with (self.path / VALUES).open("r+b") as file:
            for values in blocks:
                view = np.ascontiguousarray(values).data.cast("B")
                while view:
                    wrote = os.pwrite(file.fileno(), view, at)
                    view, at = view[wrote:], at + wrote
            os.fdatasync(file.fileno())

    def mark(self, episode: int, mark: int) -> None:
        """Say of an episode whose values are on the disk that it is done."""
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
        """Delete it unless a process has it, or it is another user's; return whether it is gone."""
        try:
            with self.alone() as alone:
                if alone:
                    self.delete()
                return alone
        except OSError:
            return False


def entries(folder: Path) -> list[Entry]:
    """Return the entries there are, the longest unused one first. Other folders are not ours."""
    found = []
    with contextlib.suppress(OSError):
        for place in (folder / FOLDER).iterdir():
            plain = _KEY.fullmatch(place.name) and place.is_dir() and not place.is_symlink()
            if plain and place.with_name(f"{place.name}.lock").is_file():
                found.append(Entry(folder, place.name))
    return sorted(found, key=lambda x: (x.used_s, x.path.name))


@contextlib.contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    handle = _opened(path)
    try:
        yield handle
    finally:
        os.close(handle)


def _opened(lock: Path) -> int:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as cause:
        if cause.errno not in _READ_ONLY or not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY | os.O_CLOEXEC)  # what is whole can be read there


def made_of(done: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which episodes are made; an odd mark is damage."""
    return np.isin(done, (EMPTY, SEEN))


def _take_room(file: int, size: int) -> None:
    """Take `size` bytes of the disk. OSError where it hasn't so many."""
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as cause:
        if cause.errno not in _NO_FALLOCATE:
            raise
        os.ftruncate(file, size)  # then a disk that is full is said by the write that finds it so


def _try(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
