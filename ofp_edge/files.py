"""Folders and files that appear whole or not at all, and the hashes that hold them together."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ofp_edge.errors import OfpError, OutputExists
from ofp_edge.strict import read_json_file

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_folder(path: Path) -> str:
    """Hex SHA-256 over the names and contents of every file below `path`, in sorted order."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, ASCII, no NaN. What gets hashed."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def read_json(path: Path, error: type[OfpError] = OfpError) -> Any:
    """Parse a JSON file; `error` (one line) when it is missing, too large, too deep or not JSON."""
    return read_json_file(path, error)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON in place of `path`, atomically."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """What `write_json` writes: readable, the keys in their order."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that `path` holds either the old bytes or all of the new ones."""
    with _plain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def check_output_file(path: Path, *, force: bool) -> None:
    """Refuse an output file before the work: taken without --force, or a folder."""
    if path.is_dir():
        raise OfpError(f"{path} is a folder: name a file in it.")
    if path.exists() and not force:
        raise OutputExists(path)


def check_output(path: Path, *, force: bool, marker: str) -> None:
    """Refuse early what `new_folder` would refuse late. See `new_folder` for `marker`."""
    if not path.exists():
        return
    if not force:
        raise OutputExists(path)
    if not (path.is_dir() and ((path / marker).exists() or not any(path.iterdir()))):
        raise OfpError(f"{path} holds no {marker}: --force replaces only what ofp-edge wrote.")


@contextlib.contextmanager
def new_folder(path: Path, *, force: bool, marker: str) -> Iterator[Path]:
    """Yield a temporary folder that takes the name `path` when the block ends well.

    An error, a full disk or a kill inside the block leaves whatever stood at `path` untouched.
    `--force` replaces a folder only if it holds `marker` (the file every such artefact has).
    Raises OutputExists, or OfpError when the disk is full.
    """
    path = Path(os.path.abspath(path))
    check_output(path, force=force, marker=marker)
    with _plain_disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            name = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        except (FileNotFoundError, FileExistsError, NotADirectoryError) as cause:
            raise OfpError(f"{path} cannot be made: {cause.strerror}. Give another -o.") from None
        partial = Path(name)
        handle = os.open(partial, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)  # until it is closed: says that we are alive
        try:
            _remove_leftovers(path)
            yield partial
            partial.chmod(0o755)
            if path.exists():
                _exchange(partial, path)
            else:
                os.rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(handle)


def _remove_leftovers(path: Path) -> None:
    """Delete the temporary folders of earlier writers of `path` that were killed."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused: being written
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders in one system call; without it, by two renames."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        args = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE)
        if libc.renameat2(*args) == 0:
            return
    aside = old.with_name(f"{new.name}.old")
    os.rename(old, aside)
    os.rename(new, old)
    os.rename(aside, new)


@contextlib.contextmanager
def _plain_disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OfpError(f"the disk is full: {path} was not written; nothing changed.") from None
        if cause.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise OfpError(f"no permission to write {path}.") from None
        raise
