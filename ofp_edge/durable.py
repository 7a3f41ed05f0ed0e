"""The parts of writing "whole or not at all": syncs, exchange, lock, and clean-up after kills.

Every temporary name stands beside the output, so no rename leaves its file system:

    .NAME.xxxxxxxx.partial  being written, or what was replaced and is being deleted
    .NAME.xxxxxxxx.aside    the artefact itself, between two renames, where none can be exchanged
    .NAME.lock              held while such names are made, exchanged and cleared; never for long

A folder that is renamed before its files are synced may be found empty after a loss of power: a
journal keeps names in order, not contents.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

PARTIAL, ASIDE = "partial", "aside"
_AT_FDCWD = -100
_NO_REPLACE, _EXCHANGE = 1, 2
_LONGEST_NAME = 200  # bytes: with what is put around it still a name
_REST = re.compile(rf"[0-9a-f]{{8}}\.({PARTIAL}|{ASIDE})(\.\w+)?")
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def temporary_name(path: Path, kind: str = PARTIAL) -> Path:
    """Return an unused name beside `path`."""
    return path.with_name(f"{temporary_start(path)}{secrets.token_hex(4)}.{kind}")


def temporary_start(path: Path) -> str:
    """Return the prefix of every temporary name of `path`."""
    name = os.fsencode(path.name)
    stem = path.name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).hexdigest()
    return f".{stem}."


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the sole right to make, exchange or clear temporary names of `path`. Not reentrant.

    The lock file is removed afterwards. On a file system without locks, nothing is locked.
    """
    lock = path.with_name(f"{temporary_start(path)}lock")
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            _flock(handle, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.lstat(lock)):
                    break  # else its last holder has deleted it meanwhile
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        os.close(handle)


def hold(handle: int) -> None:
    """Mark the writer of this open file or folder as alive until the handle is closed."""
    _flock(handle, fcntl.LOCK_EX)


def clear(path: Path) -> None:
    """Delete what killed writers of `path` left, and put back what one had set aside. Locked."""
    start = temporary_start(path)
    left = [
        name
        for name in os.listdir(path.parent)
        if name.startswith(start) and _REST.fullmatch(name[len(start) :])
    ]
    if left:
        sync(path.parent)  # a deletion must not reach the disk before the exchange that it follows
    for name in left:
        old = path.with_name(name)
        with contextlib.suppress(OSError):
            if name.endswith(ASIDE) and not os.path.lexists(path):
                os.rename(old, path)
            elif not _is_held(old):
                delete(old)


def put_back(path: Path) -> None:
    """Put back what a killed writer set aside, if nothing stands at `path`. Call before reading."""
    if os.path.lexists(path):
        return
    with contextlib.suppress(OSError):
        start = temporary_start(path)
        if any(x.startswith(start) and x.endswith(ASIDE) for x in os.listdir(path.parent)):
            with locked(path):
                clear(path)


def sync(path: Path) -> None:
    """Wait until a file's contents, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    except OSError as cause:
        # Some network file systems sync no folders; then there is nothing to wait for.
        if cause.errno not in _CANNOT or not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below and the folder itself; links are not followed."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            file = Path(place, name)
            if stat.S_ISREG(file.lstat().st_mode):
                sync(file)
        sync(Path(place))


def place(new: Path, path: Path) -> None:
    """Rename `new` to `path`. Raises FileExistsError if something is there. Call it locked."""
    if not _renameat2(new, path, _NO_REPLACE):
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        os.rename(new, path)


def exchange(new: Path, path: Path) -> Path:
    """Rename `new` to `path` and return the name that the old one has now.

    Atomic where the file system can exchange; otherwise two renames, which `clear` and `put_back`
    undo after a kill between them. Call it locked.
    """
    if _renameat2(new, path, _EXCHANGE):
        return new
    aside = temporary_name(path, ASIDE)
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(aside, path)
        raise
    return aside


def delete(path: Path) -> None:
    """Delete a file, or a folder and everything below it, even folders without write permission."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        path.chmod(0o700)
    for place, names, _ in os.walk(path):
        for folder in (Path(place, name) for name in names):
            if not folder.is_symlink():
                with contextlib.suppress(OSError):
                    folder.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def made_parents(path: Path) -> Iterator[None]:
    """Make and sync the folders above `path`; remove the new, still empty ones if the block
    fails."""
    new = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in new:
            sync(folder.parent)
        yield
    except BaseException:
        for folder in new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _is_held(path: Path) -> bool:
    """Whether a living writer holds it."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _flock(handle: int, how: int) -> None:
    try:
        fcntl.flock(handle, how)
    except OSError as cause:
        if cause.errno not in (*_CANNOT, errno.ENOLCK):
            raise


def _renameat2(old: Path, new: Path, flags: int) -> bool:
    """Whether it is done; False where kernel, C library or file system don't have it. OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(old), None, str(new))
