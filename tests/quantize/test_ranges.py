"""Ranges: everything, or less where that makes the grid finer; one pass over the samples or two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ofp_edge.quantize.layer_nodes import export_graph, find_layers
from ofp_edge.quantize.ranges import (
    Histogram,
    entropy_limit,
    measure_ranges,
    mse_limit,
    percentile_limit,
)
from ofp_edge.quantize.recipes import METHODS


def histogram(values: np.ndarray, bins: int = 512) -> tuple[Histogram, float]:  # type: ignore[type-arg]
    top = float(np.abs(values).max())
    return np.histogram(values, bins, (-top, top))[0].astype(np.int64), top


def with_outlier() -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    return np.append(rng.normal(size=200_000), 60.0)


@pytest.mark.parametrize("limit", [percentile_limit, entropy_limit, mse_limit])
def test_one_outlier_does_not_set_the_range(limit) -> None:  # type: ignore[no-untyped-def]
    found = limit(*histogram(with_outlier()))
    assert 2 < found < 30


def test_percentile_keeps_that_share() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000)
    found = percentile_limit(*histogram(values, 4096))
    assert np.mean(np.abs(values) <= found) == pytest.approx(0.9999, abs=3e-4)


def test_mse_is_the_least_squared_error_of_the_grid() -> None:
    values = np.append(np.random.default_rng(0).laplace(size=50_000), [30.0, -30.0])

    def error(limit: float) -> float:
        step = limit / 127
        rounded = np.clip(np.round(values / step), -127, 127) * step
        return float(np.mean((values - rounded) ** 2))

    found = mse_limit(*histogram(values, 4096))
    best = min(error(x) for x in np.linspace(2, 30, 200))
    assert error(found) < 1.05 * best and error(found) < error(30.0)


def test_evenly_spread_values_are_covered_nearly_whole() -> None:
    values = np.linspace(-1, 1, 10_001)
    assert mse_limit(*histogram(values)) > 0.97


@pytest.mark.parametrize("method", METHODS)
def test_no_method_goes_beyond_what_was_seen(method: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    samples = [(torch.randn(1, 6),) for _ in range(40)]
    graph = export_graph(module, samples[0])
    nodes = {n for layer in find_layers(graph) for n in (layer.input, layer.last)}
    seen = measure_ranges(graph, samples, nodes, "min-max")
    found = measure_ranges(graph, samples, nodes, method)
    assert found.keys() == seen.keys()
    for node, range_ in found.items():
        assert seen[node].low <= range_.low <= range_.high <= seen[node].high
        assert range_.scale > 0


def test_a_tensor_that_is_always_zero_has_a_range() -> None:
    module = nn.Linear(2, 2)
    nn.init.zeros_(module.weight), nn.init.zeros_(module.bias)
    graph = export_graph(module, (torch.ones(1, 2),))
    (layer,) = find_layers(graph)
    found = measure_ranges(graph, [(torch.ones(1, 2),)], {layer.last}, "entropy")
    assert (found[layer.last].low, found[layer.last].high) == (0, 0)
