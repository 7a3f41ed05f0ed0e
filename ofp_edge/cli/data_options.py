"""How training holds and reads its data: options that `train` and `distill` share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofp_edge.errors import OfpError

if TYPE_CHECKING:
    from ofp_edge.data.cache.access import Access
    from ofp_edge.progress import Progress

_MOST_GB = 1e9


@dataclass(frozen=True)
class DataOptions:
    """The options, in the order of the help."""

    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for what the network sees of the data, mapped from the disk. Default: in "
            "memory where it takes less than half of what is free, else the user's cache."
        ),
    ] = None
    cache_gb: Annotated[
        float | None,
        typer.Option(help="Limit of all that the cache holds. Default: half of the free disk."),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            help="Threads that read windows ahead, and processes that fill the cache; the result "
            "is the same. Default: none and one a core for data in memory, else 2 and one a core.",
        ),
    ] = None
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Hash all of the data, not only files that changed.")
    ] = False

    def access(self, datasets: Sequence[Path], progress: Progress, sharers: int = 1) -> Access:
        """Return how the datasets are to be held by each of `sharers` processes. OfpError."""
        from ofp_edge.data.cache.access import Access
        from ofp_edge.data.open import rehash

        if self.cache_gb is not None and not 0 < self.cache_gb < _MOST_GB:
            raise OfpError(f"--cache-gb {self.cache_gb:g}: expected more than 0, below 1e9.")
        for path in datasets if self.rehash else ():
            rehash(path)
        found = Access(
            limit_bytes=None if self.cache_gb is None else int(self.cache_gb * 1e9),
            workers=max(1, self.workers or os.cpu_count() or 1),
            sharers=sharers,
            progress=progress,
        )
        return found if self.cache is None else replace(found, folder=self.cache, when="always")

    def readers(self, *, mapped: bool) -> int:
        """Return the number of threads that read ahead."""
        return (2 if mapped else 0) if self.workers is None else self.workers
