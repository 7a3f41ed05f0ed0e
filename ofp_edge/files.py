"""Write folders and files that appear whole or not at all, and hash them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ofp_edge import durable
from ofp_edge.errors import OfpError, OutputExists
from ofp_edge.strict import read_json_file

_OURS = b'"schema_version"'
_LONGEST_MARKER = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_PLACE = (
    errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP,
    errno.EBUSY, errno.EXDEV, errno.ENODEV, errno.ENXIO, errno.EINVAL,
)  # fmt: skip


def sha256_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_folder(path: Path, sha256: Callable[[Path, str], str] | None = None) -> str:
    """Return the hex SHA-256 over names and contents of all files below `path`, in sorted order.

    sha256: gives a file's own, by its name below `path`; by default `sha256_file` does.
    """
    digest, found = hashlib.sha256(), []
    for place, _, names in os.walk(path):
        parts = Path(place).relative_to(path).parts
        found += [(*parts, name) for name in names]
    for parts in sorted(found):
        name, file = "/".join(parts), path.joinpath(*parts)
        if file.is_file():
            own = sha256_file(file) if sha256 is None else sha256(file, name)
            line = f"{name}\0{own}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))  # a name's bytes as they are
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return one byte string per value, for hashing: sorted keys, no spaces, ASCII, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def read_json(path: Path, error: type[OfpError] = OfpError) -> Any:
    """Parse a JSON file; raise `error` (one line) if missing, too large, too deep or not JSON."""
    return read_json_file(path, error)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON in place of `path`, atomically."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return what `write_json` writes: readable JSON, the keys in their order."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that `path` holds either the old bytes or all of the new ones."""
    with new_file(path) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def new_file(path: Path, *, suffix: str = "") -> Iterator[Path]:
    """Yield an empty temporary file that takes the name `path` when the block succeeds; it replaces
    an existing file and keeps its permissions. suffix: of the temporary name, for writers that go
    by it.

    As with `new_folder`, a link is followed and stays, and what stood there stays until the new
    file is on the disk. Raises OfpError where no file can be written, or when the disk is full.
    """
    target = _target(path)
    check_output_file(path, force=True)
    with _plain_disk_errors(path), durable.made_parents(target):
        with _plain_places(path), durable.locked(target):
            durable.clear(target)
            partial = durable.temporary_name(target, durable.PARTIAL + suffix)
            handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            durable.hold(handle)
        try:
            yield partial
            mode = _mode_of_file(path)
            if mode is not None:
                partial.chmod(mode)
            durable.sync(partial)
            with _plain_places(path), durable.locked(target):
                os.replace(partial, target)
                durable.sync(target.parent)
        finally:
            durable.delete(partial)
            os.close(handle)


def check_output_file(path: Path, *, force: bool) -> None:
    """Refuse an output file before the work: taken without --force, no file, or not writable."""
    target = _target(path)
    with _plain_disk_errors(path), _plain_places(path):
        if _mode_of_file(path) is not None and not force:
            raise OutputExists(path)
        _require_writable(target)


def check_output(path: Path, *, force: bool, marker: str) -> None:
    """Refuse early what `new_folder` would refuse late. See `new_folder` for `marker`."""
    target = _target(path)
    with _plain_disk_errors(path), _plain_places(path):
        durable.put_back(target)
        _require_replaceable(path, force=force, marker=marker)
        _require_writable(target)


@contextlib.contextmanager
def new_folder(path: Path, *, force: bool, marker: str) -> Iterator[Path]:
    """Yield a temporary folder that takes the name `path` when the block succeeds.

    An error, a full disk, a kill or a loss of power leaves what stood at `path` untouched, or the
    whole new folder there. A link is followed: it stays, and what it leads to is replaced.
    `--force` replaces a folder only if it is empty or holds `marker`, the JSON file that every such
    artefact has. Raises OutputExists, also when `path` appeared meanwhile, or OfpError when the
    disk is full.
    """
    target = _target(path)
    check_output(path, force=force, marker=marker)
    with _plain_disk_errors(path), durable.made_parents(target):
        with _plain_places(path), durable.locked(target):
            durable.clear(target)
            partial = durable.temporary_name(target)
            partial.mkdir()
            handle = os.open(partial, os.O_RDONLY)
            durable.hold(handle)
        old = partial
        try:
            yield partial
            durable.sync_tree(partial)
            with _plain_places(path), durable.locked(target):
                _require_replaceable(path, force=force, marker=marker)
                if os.path.lexists(target):
                    old = durable.exchange(partial, target)
                else:
                    durable.place(partial, target)
                durable.sync(target.parent)
        finally:
            durable.delete(partial)
            durable.delete(old)
            os.close(handle)


def remove_folder(path: Path) -> None:
    """Delete a folder of ours at once: a kill leaves it whole or gone. OfpError: see new_folder."""
    target = _target(path)
    with _plain_disk_errors(path), _plain_places(path):
        partial = durable.temporary_name(target)
        try:
            with durable.locked(target):
                os.rename(target, partial)
                durable.sync(target.parent)
        finally:
            durable.delete(partial)


def put_back(path: Path) -> None:
    """Put back what a killed writer had set aside on a file system that can't exchange two folders
    atomically. Call it before reading an artefact."""
    durable.put_back(_target(path))


def _target(path: Path) -> Path:
    """What a path leads to; it need not be there."""
    return Path(os.path.realpath(path))


def _mode_of_file(path: Path) -> int | None:
    """Its permissions; None where nothing is. OfpError where something is that is no file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise OfpError(f"{path} is a folder: name a file in it.")
    if not stat.S_ISREG(mode):
        raise OfpError(
            f"{path} is a device, a pipe or a socket, which is not replaced: name a file."
        )
    return stat.S_IMODE(mode)


def _require_replaceable(path: Path, *, force: bool, marker: str) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not force:
        raise OutputExists(path)
    if not stat.S_ISDIR(mode):
        raise OfpError(f"{path} is no folder: --force replaces only what ofp-edge wrote.")
    if any(path.iterdir()) and not _is_ours(path / marker):
        raise OfpError(
            f"{path} holds no {marker} of ofp-edge: --force replaces only what ofp-edge wrote."
        )


def _is_ours(marker: Path) -> bool:
    if not marker.is_file():
        return False
    with marker.open("rb") as file:
        return _OURS in file.read(_LONGEST_MARKER)


def _require_writable(target: Path) -> None:
    """OSError where nothing can be made beside `target`."""
    folder = next(x for x in target.parents if x.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


@contextlib.contextmanager
def _plain_disk_errors(path: Path) -> Iterator[None]:
    """What a disk says in a block that writes `path`, as one line; anything else is a bug's."""
    try:
        yield
    except OSError as cause:
        if cause.errno in _FULL:
            raise OfpError(f"the disk is full: {path} was not written; nothing changed.") from None
        if cause.errno == errno.EFBIG:
            raise OfpError(
                f"{path} was not written; nothing changed: a file of it would be larger than the "
                "file system, or `ulimit -f`, allows."
            ) from None
        if cause.errno in _FORBIDDEN:
            if not _is_of(cause.filename, path):
                line = f"{cause.filename}: {cause.strerror}; {path} was not written."
                raise OfpError(line) from None
            raise OfpError(f"no permission to write {path}.") from None
        raise


@contextlib.contextmanager
def _plain_places(path: Path) -> Iterator[None]:
    """A place where nothing can be made, as one line."""
    try:
        yield
    except OSError as cause:
        if cause.errno in _NO_PLACE:
            raise OfpError(f"{path} cannot be made: {cause.strerror}. Give another name.") from None
        raise


def _is_of(name: object, path: Path) -> bool:
    """Whether an error's file is the output, one of its own, or a folder above it."""
    if not isinstance(name, str):
        return True
    target, name = _target(path), os.path.abspath(name)
    beside = str(target.with_name(durable.temporary_start(target)))
    return target.is_relative_to(name) or name.startswith((str(target), beside))
