"""Farthest points: far from each other, in an order whose beginnings are choices too."""

from __future__ import annotations

import numpy as np

from ofp_edge.calibration.coverage import coverage, farthest_points


def test_a_rare_place_is_found() -> None:
    rng = np.random.default_rng(0)
    crowd, hermit = rng.normal(size=(500, 3)), np.full((1, 3), 20.0)
    chosen = farthest_points(np.concatenate([crowd, hermit]), 4)
    assert chosen[1] == 500  # the first is in the middle, the second the farthest of all
    assert len(set(chosen.tolist())) == 4


def test_a_shorter_choice_is_the_beginning_of_a_longer_one() -> None:
    features = np.random.default_rng(1).normal(size=(200, 4))
    assert np.array_equal(farthest_points(features, 20)[:7], farthest_points(features, 7))


def test_copies_are_not_chosen_twice() -> None:
    features = np.repeat(np.arange(5.0)[:, None], 10, axis=0)
    assert len(farthest_points(features, 20)) == 5
    assert len(farthest_points(np.ones((9, 2)), 4)) == 1


def test_the_figure_is_the_distance_to_the_nearest_sample() -> None:
    features = np.arange(11.0)[:, None]
    found = coverage(features, np.array([0, 10]), seed=0)
    step = 1 / features.std()
    assert np.isclose(found.largest, 5 * step) and np.isclose(found.mean, 25 / 11 * step)
    assert found.random_largest > found.largest


def test_a_feature_s_unit_does_not_matter() -> None:
    features = np.random.default_rng(2).normal(size=(100, 2))
    assert np.array_equal(farthest_points(features, 9), farthest_points(features * [1e3, 1e-3], 9))
