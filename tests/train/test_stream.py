"""A stream reads ahead, and a step's batch depends on seed and number alone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError
from ofp_edge.spec import Chunking, PolicySpec
from ofp_edge.train.batches import Batches, Raw
from ofp_edge.train.stream import streaming


@pytest.fixture(scope="module")
def batches(points_data: Path) -> Batches:
    dataset = open_dataset(points_data)
    spec = PolicySpec.of(dataset.interface, Chunking(2, 8, 4, dataset.control_hz))
    return Batches(dataset, [0, 1], spec)


def drawn(
    batches: Any,
    steps: int,
    workers: int = 0,
    first: int = 0,
    seed: int = 3,
    share: tuple[int, int] = (0, 1),
) -> list[Raw]:
    with streaming(batches, 12, seed, first, *share, workers) as stream:
        return [stream.next() for _ in range(steps)]


def same(one: Raw, other: Raw) -> bool:
    pairs = zip((*one[0], one[1]), (*other[0], other[1]), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_batches(batches: Batches, workers: int) -> None:
    alone, ahead = drawn(batches, 20), drawn(batches, 20, workers)
    assert all(map(same, alone, ahead))
    assert not same(alone[0], alone[1]) and not same(alone[0], drawn(batches, 1, seed=4)[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_share_what_one_would_see(batches: Batches, workers: int) -> None:
    whole = drawn(batches, 5, workers)
    halves = [drawn(batches, 5, workers, share=(rank, 2)) for rank in range(2)]
    for raw, *parts in zip(whole, *halves, strict=True):
        for rank, part in enumerate(parts):
            assert same(([x[rank::2] for x in raw[0]], raw[1][rank::2]), part)


def test_a_run_that_goes_on_sees_what_it_would_have_seen(batches: Batches) -> None:
    assert all(map(same, drawn(batches, 10, 2)[6:], drawn(batches, 4, 1, first=6)))


def test_every_window_is_drawn_as_often_as_any_other(batches: Batches) -> None:
    seen = np.zeros(len(batches))
    with streaming(batches, 12, 0, 0, 0, 1, 0) as stream:
        for step in range(3000):
            np.add.at(seen, stream.rows(step).numpy(), 1)
    expected = 3000 * 12 / len(batches)
    assert abs(seen - expected).max() < 5 * expected**0.5


class Watched:
    """Batches that can be held up, and fail, and say what was read."""

    def __init__(self, fails_at: int = 1 << 30) -> None:
        self.read_steps, self.fails_at, self.gate = 0, fails_at, threading.Event()
        self._lock = threading.Lock()

    def drawn(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(50, (count,), generator=generator)

    def read(self, rows: torch.Tensor) -> Raw:
        with self._lock:
            number = self.read_steps
            self.read_steps += 1
        if number == self.fails_at:
            raise DatasetError("episode 3: frame 7 cannot be read.")
        return [rows], rows


def test_what_cannot_be_read_is_said_by_the_step_that_needs_it() -> None:
    for workers in (0, 1):
        with streaming(Watched(5), 12, 3, 0, 0, 1, workers) as stream:  # type: ignore[arg-type]
            for _ in range(5):
                stream.next()
            with pytest.raises(DatasetError, match="frame 7"):
                stream.next()


def test_no_more_is_read_ahead_than_a_few_batches() -> None:
    watched = Watched()
    with streaming(watched, 12, 3, 0, 0, 1, 2) as stream:  # type: ignore[arg-type]
        for _ in range(3):
            stream.next()
    assert watched.read_steps <= 3 + 4


def test_waiting_for_data_is_told_apart(batches: Batches) -> None:
    class Slow(Watched):
        def read(self, rows: torch.Tensor) -> Raw:
            self.gate.wait(0.05)
            return super().read(rows)

    with streaming(Slow(), 12, 3, 0, 0, 1, 1) as stream:  # type: ignore[arg-type]
        stream.next()
        assert stream.waited_s >= 0.04
