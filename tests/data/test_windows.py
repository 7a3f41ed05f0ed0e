"""Training windows: which frames, and what pads the ends."""

from __future__ import annotations

import numpy as np
import pytest

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.data.windows import windows
from tests.synthetic import write_synthetic_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("data") / "d.zarr"
    return open_dataset(write_synthetic_dataset(path, obs="state", length=10))


def test_one_window_a_frame_of_the_episodes_asked_for(dataset: Dataset) -> None:
    assert len(windows(dataset, [0, 2], 2, 4)) == 10 + 8


def test_history_repeats_the_first_frame_and_never_leaves_the_episode(dataset: Dataset) -> None:
    past = windows(dataset, [1], 3, 4).past
    start = dataset.episode(1).start
    assert past[:3].tolist() == [
        [start] * 3,
        [start, start, start + 1],
        [start, start + 1, start + 2],
    ]
    assert past.max() == dataset.episode(1).stop - 1


def test_chunk_starts_at_the_newest_frame(dataset: Dataset) -> None:
    found = windows(dataset, [1], 2, 4)
    for row in range(4):
        now = found.past[row, -1]
        np.testing.assert_array_equal(found.chunks[row], dataset.action[now : now + 4])


def test_end_pads_deltas_with_stay_and_absolutes_with_the_last(dataset: Dataset) -> None:
    dataset.action[dataset.episode(1).stop - 1] = [0.3, 0.2, 0.1, 0.7]
    chunk = windows(dataset, [1], 2, 4).chunks[-1]
    np.testing.assert_allclose(chunk[0], [0.3, 0.2, 0.1, 0.7])
    np.testing.assert_allclose(chunk[1:], [[0, 0, 0, 0.7]] * 3)


def test_a_horizon_longer_than_the_episode_is_padded(dataset: Dataset) -> None:
    chunks = windows(dataset, [2], 2, 20).chunks
    assert chunks.shape == (8, 20, 4)
    assert not chunks[0, 8:, :3].any()
