"""Laws of time: bounds, monotony, dropout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ofp_edge.policy import times


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.1]), st.sampled_from([0.0, 0.3, 1.0]))
def test_pairs_are_ordered_and_never_too_close(seed: int, smallest: float, shipped: float) -> None:
    t, r = times.sorted_pair(64, smallest, shipped, generator(seed))
    assert float(t.min()) >= 0
    assert float(r.max()) <= 1
    assert float((r - t).min()) >= smallest - 1e-6


def test_shipped_share_is_the_pair_zero_one() -> None:
    t, r = times.sorted_pair(4000, 0.01, 0.25, generator())
    share = ((t == 0) & (r == 1)).float().mean()
    assert float(share) == pytest.approx(0.25, abs=0.03)
    assert not ((r - t) == 1).sum() == 4000


@given(st.floats(0, 1, allow_subnormal=False), st.floats(0, 1, allow_subnormal=False))
def test_contractions_never_grow(a: float, b: float) -> None:
    first, later = sorted((a, b))
    assert times.cosine_contraction(first) >= times.cosine_contraction(later)
    assert times.exponential_contraction(first, 0.01) >= times.exponential_contraction(later, 0.01)


def test_contractions_start_at_one_and_end_where_they_should() -> None:
    assert times.cosine_contraction(0) == times.exponential_contraction(0, 0.01) == 1
    assert times.cosine_contraction(1) == pytest.approx(0, abs=1e-12)
    assert times.exponential_contraction(1, 0.01) == pytest.approx(0.01)


def test_path_runs_from_noise_to_data() -> None:
    eps, a = torch.zeros(3, 2), torch.ones(3, 2)
    z = times.between(eps, a, torch.tensor([0.0, 0.25, 1.0]))
    assert z[:, 0].tolist() == [0.0, 0.25, 1.0]


def test_dropout_replaces_whole_rows_at_its_rate() -> None:
    features, null = torch.ones(4000, 6), torch.full((6,), 7.0)
    mixed = times.drop_condition(features, null, 0.1, generator())
    dropped = mixed[:, 0] == 7
    assert float(dropped.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert (mixed[dropped] == 7).all()
    assert (mixed[~dropped] == 1).all()
    assert torch.equal(times.drop_condition(features, null, 0.0, generator()), features)
