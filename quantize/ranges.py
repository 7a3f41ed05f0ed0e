"""Choose the float ranges that int8 covers from the activations seen on calibration samples.

`min-max` covers everything. The others look at a histogram and give up the tails, so that the grid
is finer for the rest. Percentile and entropy are onnxruntime's. Its and torchao's searches for the
least squared error are made for grids with a zero point, ours has none: `mse` is written here.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from ofp_edge.quantize.plan import Range

_PERCENTILE = 99.99
_QUANTISED_BINS = 128  # onnxruntime's own
_BINS = {"percentile": 4096, "mse": 4096, "entropy": 512}  # its entropy search is slow in more
_SMALLEST_SHARE, _EVERY = 16, 8  # `mse` tries limits from max/16 on, at every eighth bin
_STEPS = 127

Histogram = NDArray[np.int64]  # of values in -top..top, an even number of bins


def measure_ranges(
    graph: fx.GraphModule,
    samples: Sequence[Sequence[Tensor]],
    nodes: set[fx.Node],
    method: str,
) -> dict[fx.Node, Range]:
    """Measure the range of each node over the samples, by `method`; one pass, or two."""
    found: dict[fx.Node, Range] = {}

    def widen(node: fx.Node, value: Tensor) -> None:
        low, high = (float(x) for x in torch.aminmax(value))
        old = found.get(node, Range(low, high))
        found[node] = Range(min(low, old.low), max(high, old.high))

    _watch(graph, samples, nodes, widen)
    if method == "min-max":
        return found
    bins = _BINS[method]
    histograms: dict[fx.Node, Histogram] = {n: np.zeros(bins, np.int64) for n in nodes}
    tops = {node: max(abs(seen.low), abs(seen.high)) for node, seen in found.items()}

    def count(node: fx.Node, value: Tensor) -> None:
        if tops[node] > 0:
            counted = torch.histc(value.float(), bins, -tops[node], tops[node])
            histograms[node] += counted.numpy().astype(np.int64)

    _watch(graph, samples, nodes, count)
    for node, seen in found.items():
        if tops[node] > 0:
            limit = LIMITS[method](histograms[node], tops[node])
            found[node] = Range(max(seen.low, -limit), min(seen.high, limit))
    return found


def percentile_limit(histogram: Histogram, top: float) -> float:
    """Return the limit that 99.99 % of the magnitudes stay within."""
    folded = _folded(histogram)
    edges = np.linspace(0, top, len(folded) + 1).astype(np.float32)
    collector = _collector("percentile")
    least, most = np.float32(-top), np.float32(top)
    collector.histogram_dict = {"x": (folded, edges, least, most)}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        _, high, *_ = collector.compute_percentile()["x"]
    # It names the lower edge of the bin in which the percentile lies.
    return min(top, float(high) + top / len(folded))


def entropy_limit(histogram: Histogram, top: float) -> float:
    """Return the limit of least Kullback-Leibler divergence (Migacz, GTC 2017)."""
    edges = np.linspace(-top, top, len(histogram) + 1).astype(np.float32)
    least, most = np.float32(-top), np.float32(top)
    low, high = _collector("entropy").get_entropy_threshold(
        (histogram, edges, least, most, most), _QUANTISED_BINS
    )
    return float(max(-low, high))


def mse_limit(histogram: Histogram, top: float) -> float:
    """Return the symmetric grid's limit of least squared error; bins count at their middle."""
    folded = _folded(histogram)
    edges = np.linspace(0, top, len(folded) + 1)
    middle, counts = (edges[1:] + edges[:-1]) / 2, folded.astype(np.float64)
    best, least = top, np.inf
    for limit in edges[len(folded) // _SMALLEST_SHARE :: _EVERY]:
        step = limit / _STEPS
        rounded = np.minimum(np.round(middle / step), _STEPS) * step
        error = float(counts @ (middle - rounded) ** 2)
        if error < least:
            best, least = float(limit), error
    return best


LIMITS: dict[str, Callable[[Histogram, float], float]] = {
    "percentile": percentile_limit, "entropy": entropy_limit, "mse": mse_limit,
}  # fmt: skip


def _folded(histogram: Histogram) -> Histogram:
    half = len(histogram) // 2
    folded: Histogram = histogram[half:] + histogram[:half][::-1]
    return folded


def _collector(method: str) -> Any:
    from onnxruntime.quantization.calibrate import HistogramCollector

    return HistogramCollector(method, True, _BINS[method], _QUANTISED_BINS, _PERCENTILE, "same")


def _watch(
    graph: fx.GraphModule,
    samples: Sequence[Sequence[Tensor]],
    nodes: set[fx.Node],
    see: Callable[[fx.Node, Tensor], None],
) -> None:
    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in nodes:
                see(n, value)
            return value

    watch = Watch(graph)
    with torch.no_grad():
        for sample in samples:
            watch.run(*sample)
