"""Hash a dataset once: a file is hashed again only where its size, times or inode have changed.

What was hashed is remembered in the user's cache folder, one JSON file for each dataset. A file
that changed within the last seconds is not remembered, because it could change again within one
tick of the file system's clock.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from ofp_edge.cache_folder import cache_folder
from ofp_edge.errors import OfpError
from ofp_edge.files import json_bytes, sha256_bytes, sha256_file, sha256_folder, write_bytes
from ofp_edge.strict import read_json_file

_SETTLED_S = 3  # the coarsest clock of a file system's times, FAT's, ticks every 2 s
_LARGEST = 256_000_000
_VERSION = 1


def known_sha256(path: Path) -> str:
    """Return what `sha256_file` does of a file, and `sha256_folder` of a folder."""
    memory = _memory_of(path)
    known = _recall(memory)
    seen: dict[str, list[Any]] = {}

    def hashed(file: Path, name: str) -> str:
        sha256, entry = _hash(file, known.get(name))
        if entry is not None:
            seen[name] = entry
        return sha256

    found = sha256_folder(path, hashed) if path.is_dir() else hashed(path, "")
    if memory is not None and seen != known:
        with contextlib.suppress(OSError, OfpError):
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(memory, json_bytes({"version": _VERSION, "of": str(path), "files": seen}))
    return found


def forget(path: Path) -> None:
    """Hash the whole dataset again at its next opening."""
    if (memory := _memory_of(path)) is not None:
        with contextlib.suppress(OSError):
            memory.unlink(missing_ok=True)


def _memory_of(path: Path) -> Path | None:
    folder = cache_folder()
    name = sha256_bytes(os.fsencode(os.path.realpath(path)))
    return None if folder is None else folder / "hashes" / f"{name[:32]}.json"


def _hash(file: Path, known: Any) -> tuple[str, list[Any] | None]:
    """Its hash, and what to remember of it; None where it can't be trusted to stay."""
    before = _about(file)
    if isinstance(known, list) and known[:-1] == before and isinstance(known[-1], str):
        return known[-1], known
    settled_ns = time.time_ns() - _SETTLED_S * 1_000_000_000
    sha256 = sha256_file(file)
    if _about(file) != before or max(before[1:3]) > settled_ns:
        return sha256, None
    return sha256, [*before, sha256]


def _about(file: Path) -> list[int]:
    """Size, time of its content, time of its inode (which no program can set), inode, device."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def _recall(memory: Path | None) -> dict[str, Any]:
    """What is remembered; nothing where that can't be read."""
    if memory is None:
        return {}
    try:
        value = read_json_file(memory, OfpError, largest=_LARGEST)
    except OfpError:
        return {}
    files = value.get("files") if isinstance(value, dict) else None
    return files if isinstance(files, dict) and value.get("version") == _VERSION else {}
