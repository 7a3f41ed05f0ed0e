"""Read files from outside: plain ones only, in their own folder, of limited size.

A device or a pipe is never opened for reading, and a link is followed only as far as the folder
that the file belongs to. Anything wrong raises the caller's own error, in one line.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from ofp_edge.contents import LARGEST_POINTER, POINTER, first_bytes
from ofp_edge.errors import OfpError

MEBIBYTE = 1 << 20
_LONGEST_LINE = 400
_GROUPS = Path("/sys/fs/cgroup")
_COMMIT, _REPOSITORY = re.compile(r"[0-9a-f]{40}"), re.compile(r"(?:datasets|models)--.+")


def open_plain(path: Path, error: type[OfpError], *, inside: Path | None = None) -> BinaryIO:
    """Open a plain file for reading; raise `error` for anything else.

    inside: the folder that the file must lie in, after following links.
    """
    if inside is not None:
        path = within(inside, path, error)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a pipe must not hold us up
    try:
        handle = os.open(path, flags | (os.O_NOFOLLOW if inside is not None else 0))
    except (OSError, ValueError) as cause:
        _cannot(path, cause, error)
    try:
        state = os.fstat(handle)
        _require_plain(path, state.st_mode, error)
        if 0 < state.st_size <= LARGEST_POINTER:
            with contextlib.suppress(OSError):  # whoever reads it says so
                _require_no_pointer(path, os.pread(handle, len(POINTER), 0), error)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_plain(
    path: Path, error: type[OfpError], largest: int, *, inside: Path | None = None
) -> bytes:
    """Return the bytes of a plain file of at most `largest` bytes; else raise `error` (one line).

    inside: as for `open_plain`.
    """
    try:
        with open_plain(path, error, inside=inside) as file:
            size = os.fstat(file.fileno()).st_size
            require_size(path, size, error, largest)
            data = file.read(size + 1)  # not `largest`: so much is set aside at once
            if len(data) > size:  # it grows, or is the kernel's
                data += file.read(largest + 1 - len(data))
    except OSError as cause:
        _cannot(path, cause, error)
    except MemoryError:
        raise error(f"{path} cannot be read: too little memory is free.") from None
    require_size(path, len(data), error, largest)
    return data


def require_size(path: Path, size: int, error: type[OfpError], largest: int) -> None:
    """Raise `error` when a file is far larger than its kind ever is."""
    if size > largest:
        raise error(
            f"{path}: {_bytes(size)}, expected at most {_bytes(largest)}. Is it another file?"
        )


def within(folder: Path, path: Path, error: type[OfpError]) -> Path:
    """Return where `path` really lies; raise `error` unless in `folder`, which may be a link.

    A snapshot in the cache of Hugging Face's hub consists of links to the `blobs` of the same
    download: they belong to it.
    """
    try:
        real, root = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    except (OSError, ValueError) as cause:
        _cannot(path, cause, error)
    blobs = _blobs(root)
    if real != root and root not in real.parents and (blobs is None or real.parent != blobs):
        raise error(
            f"{path} leads out of {folder}, to {real}: nothing else is opened. If it is yours, "
            "copy what the link leads to: cp -rL."
        )
    return real


def _blobs(root: Path) -> Path | None:
    """Where a snapshot's files lie: (datasets|models)--OWNER--NAME/snapshots/COMMIT -> blobs."""
    repository = root.parent.parent
    snapshot = root.parent.name == "snapshots" and _COMMIT.fullmatch(root.name)
    return repository / "blobs" if snapshot and _REPOSITORY.fullmatch(repository.name) else None


def listed(folder: Path, path: Path, error: type[OfpError]) -> list[Path]:
    """List the folder `path`, sorted; nothing if it is no folder. Raises `error` when a link leads
    out of `folder`: not even the names are read then."""
    real = within(folder, path, error)
    try:
        return sorted(real.iterdir()) if real.is_dir() else []
    except OSError as cause:
        _cannot(path, cause, error)


def require_plain(path: Path, error: type[OfpError], *, inside: Path | None = None) -> Path:
    """Return the real path of a plain file, for a library that opens by name, or raise `error`."""
    real = within(inside, path, error) if inside is not None else path
    try:
        state = os.stat(real)
    except (OSError, ValueError) as cause:
        _cannot(path, cause, error)
    _require_plain(path, state.st_mode, error)
    if state.st_size <= LARGEST_POINTER:
        _require_no_pointer(path, first_bytes(real), error)
    return real


def plain_tree(folder: Path, error: type[OfpError]) -> Iterator[os.DirEntry[str]]:
    """Return every plain file below a folder; raise `error` at a link or anything else."""
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_symlink():
                        raise error(
                            f"{entry.path} is a link, which is not followed. If it is yours, copy "
                            "what it leads to: cp -rL."
                        )
                    elif not entry.is_file(follow_symlinks=False):
                        raise error(f"{entry.path} is not a plain file.")
                    else:
                        yield entry
        except OSError as cause:
            _cannot(folder, cause, error)


def require_closed(folder: Path, error: type[OfpError]) -> None:
    """Raise `error` when a link anywhere below a folder leads out of it."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if os.path.islink(item := os.path.join(place, name)):
                within(folder, Path(item), error)


@contextlib.contextmanager
def said_by(what: str, error: type[OfpError]) -> Iterator[None]:
    """Turn whatever a library raises over data from outside into one line of `error`.

    For the library's call alone: around code of ours it would hide our bugs.
    """
    try:
        yield
    except OfpError:
        raise
    except MemoryError:
        raise error(f"{what}: too little memory is free.") from None
    except Exception as cause:
        line = next((x for x in str(cause).splitlines() if x.strip()), type(cause).__name__)
        raise error(f"{what}: {line[:_LONGEST_LINE]}") from None


def require_memory(size: int, what: str, error: type[OfpError]) -> None:
    """Raise `error` when `size` bytes exceed what is free, or what this process may take."""
    left = memory_left()
    if left is not None and size > left:
        raise error(f"{what}: {_bytes(size)} of memory needed, {_bytes(left)} free.")


def memory_left() -> int | None:
    """Return the bytes that this process may still take: what is free, and what limits on it and on
    its control group leave; None on a system that does not tell."""
    known = list(_control_group_left())
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    try:
        if limit != resource.RLIM_INFINITY:
            with open("/proc/self/statm", encoding="ascii") as file:
                known.append(limit - int(file.read().split()[0]) * resource.getpagesize())
        with open("/proc/meminfo", encoding="ascii") as file:
            known += [1024 * int(x.split()[1]) for x in file if x.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        return None  # a system that does not tell
    return min(known, default=None)


def _control_group_left() -> Iterator[int]:
    """What each control group above this process leaves, of either version. Pages of files don't
    count: the kernel gives them back."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except (OSError, ValueError):
        return
    for number, controllers, place in (line for line in lines if len(line) == 3):
        if number == "0":
            root, *names = _GROUPS, "memory.max", "memory.high", "memory.current"
            pages = "file", "shmem"
        elif "memory" in controllers.split(","):
            root = _GROUPS / "memory"
            names = ["memory.limit_in_bytes", "memory.usage_in_bytes"]
            pages = "total_cache", "total_shmem"
        else:
            continue
        own = root / place.lstrip("/")
        # In a container without a namespace of its own the place is the host's: only `root` is here
        for folder in (own, *own.parents):
            if folder == root or root in folder.parents:
                with contextlib.suppress(OSError, ValueError, KeyError):
                    yield _group_left(folder, names, pages)


def _group_left(folder: Path, names: list[str], pages: tuple[str, str]) -> int:
    limits = [
        (folder / name).read_text().strip() for name in names[:-1] if (folder / name).exists()
    ]
    limit = min(int(text) for text in limits if text != "max")
    lines = (folder / "memory.stat").read_text().splitlines()
    stats = dict(line.split() for line in lines)
    taken = int((folder / names[-1]).read_text())
    return limit - taken + int(stats[pages[0]]) - int(stats[pages[1]])


def _require_plain(path: Path, mode: int, error: type[OfpError]) -> None:
    if stat.S_ISDIR(mode):
        raise error(f"{path} cannot be read: it is a folder, expected a file.")
    if not stat.S_ISREG(mode):
        raise error(f"{path} is not a plain file.")


def _require_no_pointer(path: Path, start: bytes, error: type[OfpError]) -> None:
    if start.startswith(POINTER):
        raise error(f"{path} is a pointer of Git LFS, the file itself is not here: git lfs pull.")


def _cannot(path: Path, cause: Exception, error: type[OfpError]) -> NoReturn:
    if isinstance(cause, FileNotFoundError):
        if os.path.islink(path):
            leads = os.readlink(path)
            raise error(
                f"{path} is a link to {leads}, where nothing is: a download that did not end, or "
                "was cleared? Download it again."
            ) from None
        raise error(f"{path} does not exist: it cannot be read.") from None
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else cause
    raise error(f"{path} cannot be read: {said}.") from None


def _bytes(size: int) -> str:
    for unit, worth in (("GB", 1e9), ("MB", 1e6)):
        if size >= worth:
            return f"{size / worth:.1f} {unit}"
    return f"{size} bytes"
