"""What a draw from a mapped file takes of the page cache, as the kernel counts it."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ofp_edge.data.cache.drawn import call_for, expect_draws

FRAMES, BYTES = 600, 27648
Values = NDArray[Any]


@pytest.fixture
def values(tmp_path: Path) -> Values:
    path = tmp_path / "values"
    made = np.memmap(path, np.uint8, "w+", shape=(FRAMES, BYTES))
    made[:] = np.arange(FRAMES)[:, None] % 251
    made.flush()  # msync: only pages that are on the disk can be dropped
    del made
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    values = np.memmap(path, np.uint8, "r", shape=(FRAMES, BYTES))
    if resident(values).any():
        pytest.skip("this file system keeps what it is asked to drop")
    return values


def resident(values: Values) -> NDArray[np.bool_]:
    """Which pages are in memory."""
    pages = -(-values.nbytes // mmap.PAGESIZE)
    held = (ctypes.c_ubyte * pages)()
    libc = ctypes.CDLL(None, use_errno=True)
    place = ctypes.c_void_p(values.ctypes.data)
    assert libc.mincore(place, ctypes.c_size_t(values.nbytes), held) == 0
    return np.frombuffer(held, np.uint8) % 2 == 1


def pages_of(row: int) -> set[int]:
    return set(range(row * BYTES // mmap.PAGESIZE, -(-(row + 1) * BYTES // mmap.PAGESIZE)))


def test_a_drawn_frame_brings_itself_in_whole_and_nothing_around_it(values: Values) -> None:
    expect_draws(values)
    call_for(values, np.array([300, 17, 300]))
    assert values[300, 0] == 300 % 251 and values[17, -1] == 17
    assert (values[[300, 17]] == np.array([[300 % 251], [17]])).all()
    assert set(np.flatnonzero(resident(values)).tolist()) == pages_of(300) | pages_of(17)


def test_without_it_the_kernel_reads_far_more(values: Values) -> None:
    assert values[300, 0] == 300 % 251
    assert resident(values).sum() > 2 * len(pages_of(300))


def test_what_is_no_whole_mapped_file_is_left_as_it_is(values: Values) -> None:
    for other in (np.zeros((4, 3)), values[1:], np.asarray(values)):
        expect_draws(other)
        call_for(other, np.array([0, 2]))
    assert not resident(values).any()
