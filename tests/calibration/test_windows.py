"""Observation windows: spread over the episodes given, no others, each within its episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ofp_edge.calibration.windows import choose_windows
from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError, SpecMismatch
from ofp_edge.spec import Chunking, PolicySpec
from tests.synthetic import write_synthetic_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_synthetic_dataset(tmp_path_factory.mktemp("d") / "d.zarr"))


def spec_of(dataset: Dataset) -> PolicySpec:
    return PolicySpec.of(dataset.interface, Chunking(2, 8, 4, dataset.control_hz))


@pytest.mark.parametrize("episodes", [(0, 1, 2, 3, 4), (1, 3)])
def test_samples_come_from_the_given_episodes_all_of_them_and_no_other(
    dataset: Dataset, episodes: tuple[int, ...]
) -> None:
    windows = choose_windows(dataset, spec_of(dataset), episodes, 24, seed=0)
    assert set(windows.episode.tolist()) == set(episodes)
    assert len(set(zip(windows.episode.tolist(), windows.frame.tolist(), strict=True))) == 24


def test_a_window_holds_the_frames_before_it_within_its_episode(dataset: Dataset) -> None:
    windows = choose_windows(dataset, spec_of(dataset), range(5), 10_000, seed=0)
    assert len(windows) == len(dataset.frames(range(5)))  # never more than there are
    for k in range(len(windows)):
        start = dataset.episode(int(windows.episode[k])).start
        now = start + int(windows.frame[k])
        for name, values in windows.fields.items():
            assert np.array_equal(values[k, 1], dataset.fields[name][now])
            assert np.array_equal(values[k, 0], dataset.fields[name][max(start, now - 1)])


def test_the_choice_depends_on_the_seed_alone(dataset: Dataset) -> None:
    spec = spec_of(dataset)
    a, b, c = (choose_windows(dataset, spec, range(5), 16, seed=s) for s in (1, 1, 2))
    assert np.array_equal(a.frame, b.frame) and not np.array_equal(a.frame, c.frame)


def test_repeated_frames_are_not_distinct(dataset: Dataset) -> None:
    windows = choose_windows(dataset, spec_of(dataset), range(5), 8, seed=0)
    first = windows.take([0, 2, 4, 6])  # of four episodes
    assert first.distinct() == 4
    assert windows.take([3] * 10).distinct() == 1


def test_other_observations_and_no_episodes_are_refused(dataset: Dataset) -> None:
    spec = spec_of(dataset)
    with pytest.raises(DatasetError, match="no training episode"):
        choose_windows(dataset, spec, (), 8, seed=0)
    renamed = replace(spec.observations[0], name="other")
    other = PolicySpec((renamed,), spec.actions, 2, 8, 4, spec.control_hz)
    with pytest.raises(SpecMismatch, match="observation fields"):
        choose_windows(dataset, other, range(5), 8, seed=0)
