"""Normalisation: the observed range becomes -1..1, and back again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ofp_edge.errors import SpecMismatch
from ofp_edge.normalize import (
    Affine,
    FieldStatistics,
    statistics_from_json,
    statistics_to_json,
)

TABLES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(2, 20), st.integers(1, 5)),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
)


@given(TABLES)
def test_scale_and_offset_undo_normalize(values: np.ndarray) -> None:
    affine = Affine.of(FieldStatistics.of(values))
    there = affine.normalize(values)
    assert there.dtype == np.float32 and np.isfinite(there).all()
    assert np.allclose(there * affine.scale + affine.offset, values, atol=1e-3)


@given(TABLES)
def test_what_was_observed_lies_within_minus_one_and_one(values: np.ndarray) -> None:
    there = Affine.of(FieldStatistics.of(values)).normalize(values)
    span = values.max(0) - values.min(0)
    moving = span > 1e-2 * (1 + np.abs(values).max(0))
    assert np.abs(there[:, moving]).max(initial=0) <= 1 + 1e-3
    assert there[:, moving].max(0, initial=-2) == pytest.approx(1, abs=1e-3) or not moving.any()


def test_a_constant_dimension_maps_to_zero_and_is_not_blown_up() -> None:
    values = np.array([[5.0, 0.0], [5.0, 1.0]])
    affine = Affine.of(FieldStatistics.of(values))
    assert affine.normalize(values)[:, 0].tolist() == [0.0, 0.0]
    assert affine.normalize(np.array([5.1, 0.5]))[0] == pytest.approx(0.1, abs=1e-5)


def test_statistics_are_those_of_the_columns() -> None:
    statistics = FieldStatistics.of(np.array([[0, 10], [2, 30], [4, 20]], dtype=np.float32))
    assert statistics.low == (0, 10) and statistics.high == (4, 30)
    assert statistics.mean == (2, 20) and statistics.count == 3
    assert statistics.std == pytest.approx((np.sqrt(8 / 3), np.sqrt(200 / 3)))


def test_a_fixed_range_normalises_like_data_that_fills_it() -> None:
    affine = Affine.of(FieldStatistics.of_range((-1.0, 2.0), (1.0, 4.0)))
    assert affine.normalize(np.array([[-1, 2], [1, 4], [0, 3]])).tolist() == [
        [-1, -1], [1, 1], [0, 0],
    ]  # fmt: skip


def test_concatenated_maps_act_side_by_side() -> None:
    a = Affine.of(FieldStatistics.of_range((0.0,), (2.0,)))
    b = Affine.of(FieldStatistics.of_range((0.0, 0.0), (4.0, 8.0)))
    both = Affine.concatenated([a, b])
    assert both.normalize(np.array([2.0, 4.0, 4.0])).tolist() == [1.0, 1.0, 0.0]


def test_json_gives_back_the_same_statistics() -> None:
    statistics = {"a": FieldStatistics.of(np.random.default_rng(0).normal(size=(9, 3)))}
    assert (
        statistics_from_json(json.loads(json.dumps(statistics_to_json(statistics)))) == statistics
    )


@pytest.mark.parametrize(
    "value", [None, [], {"a": {}}, {"a": None}, {"a": {"low": 1}}, {"a": {"low": ["x"]}}]
)
def test_json_that_is_no_statistics_is_refused(value: object) -> None:
    with pytest.raises(SpecMismatch, match="statistics: expected low, high, mean, std, count"):
        statistics_from_json(value)
