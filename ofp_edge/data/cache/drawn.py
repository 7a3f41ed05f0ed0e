"""Frames drawn here and there from a mapped file: read whole, and nothing around them.

A kernel reads ahead of what is touched, megabytes a window: they push out what else is held, and
inside a limit of memory every page then has to be won back from another.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def expect_draws(values: NDArray[Any]) -> None:
    """Let the kernel read nothing ahead of a mapped file (T, *shape) any more; others stay."""
    if (file := _mapped(values)) is not None:
        file.madvise(mmap.MADV_RANDOM)


def call_for(values: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Have these rows of a mapped file (T, *shape) read before they are touched, each in one go."""
    if (file := _mapped(values)) is None:
        return
    size = values.strides[0]
    for row in np.unique(rows).tolist():
        first = row * size
        page = first - first % mmap.PAGESIZE
        file.madvise(mmap.MADV_WILLNEED, page, first + size - page)


def _mapped(values: NDArray[Any]) -> mmap.mmap | None:
    """The whole file behind an array that is mapped from its beginning."""
    whole = isinstance(values, np.memmap) and values.offset == 0 and values.flags.c_contiguous
    return values.base if whole and isinstance(values.base, mmap.mmap) else None
