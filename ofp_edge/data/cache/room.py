"""Room for another entry: within the limit, and on the disk; the longest unused ones go first."""

from __future__ import annotations

import shutil
from pathlib import Path

from ofp_edge.data.cache.entry import About, Entry, entries
from ofp_edge.errors import DatasetError

_SPARE_BYTES = 1 << 30


def make_room(folder: Path, entry: Entry, about: About, limit_bytes: int | None) -> None:
    """Delete unused entries until there is room for one. DatasetError where there can't be.

    limit_bytes: of all entries; by default half of what the disk has free or the cache already has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    others = [x for x in entries(folder) if x.path != entry.path]
    sizes = {x.path: size_of(x) for x in others}
    own, taken, gone = size_of(entry), sum(sizes.values()), 0
    free = shutil.disk_usage(folder).free + own
    limit = (free + taken) // 2 if limit_bytes is None else limit_bytes
    for other in others:
        fits = taken + about.bytes <= limit and about.bytes + _SPARE_BYTES <= free + gone
        if fits:
            return
        if other.delete_unused():
            taken -= sizes[other.path]
            gone += sizes[other.path]
    if taken + about.bytes > limit:
        raise DatasetError(
            f"{folder}: {_gb(about.bytes)} needed for field {about.field!r} of {about.dataset}, "
            f"the cache may hold {_gb(limit)} and {_gb(taken)} of it are in use. Raise --cache-gb, "
            "or give --cache another folder."
        )
    if about.bytes + _SPARE_BYTES > free + gone:
        raise DatasetError(
            f"{folder}: {_gb(about.bytes)} needed for field {about.field!r} of {about.dataset}, "
            f"{_gb(free + gone)} free on the disk, of which {_gb(_SPARE_BYTES)} are left alone. "
            "Give --cache a folder on another disk."
        )


def size_of(entry: Entry) -> int:
    """Return the bytes that it takes on the disk."""
    try:
        return sum(x.stat().st_blocks * 512 for x in entry.path.iterdir())
    except OSError:
        return 0


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
