"""Turn int8 into uint8: same steps, other integers, for ONNX Runtime on x86 (int8_kernels.py).

Its kernels take unsigned activations there. It shifts signed ones by itself, but later than it
looks for quantised operations, and misses some; and it leaves a ReLU between a layer and its
rounding out only where the lowest integer stands for 0. Both leave layers in float, with
conversions around them. Its kernels for signed weights are wrong without VNNI.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ofp_edge.extras import require

_MIDDLE = 128


def unsigned_integers(model: bytes, *, relu_from_zero: bool) -> bytes:
    """Return the ONNX model with every int8 tensor as uint8 and its zero point at 128.

    relu_from_zero: the zero point of a ReLU's answers at 0, which cuts off at twice their range
    instead of at it: bit for bit equal only where the ranges hold every value.
    """
    onnx = require("onnx", "quantize")
    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    points = _Points(onnx, graph)
    makers = {name: node for node in graph.node for name in node.output}
    weights = {x.name: x for x in graph.initializer if x.data_type == onnx.TensorProto.INT8}
    zero: dict[str, int] = {}  # by the quantised tensor
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            maker = makers.get(node.input[0])
            after_relu = maker is not None and maker.op_type == "Relu"
            zero[node.output[0]] = 0 if relu_from_zero and after_relu else _MIDDLE
            node.input[2] = points.like(node.input[2], zero[node.output[0]])
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and (
            node.input[0] in weights or node.input[0] in zero
        ):
            node.input[2] = points.like(node.input[2], zero.get(node.input[0], _MIDDLE))
            if (weight := weights.pop(node.input[0], None)) is not None:
                zero[weight.name] = _MIDDLE
                shifted = onnx.numpy_helper.to_array(weight).astype(np.int16) + _MIDDLE
                weight.CopyFrom(onnx.numpy_helper.from_array(shifted.astype(np.uint8), weight.name))
    read = {name for node in graph.node for name in node.input}
    kept = [x for x in graph.initializer if x.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return bytes(loaded.SerializeToString(deterministic=True))


class _Points:
    """Zero points as constants of the graph, one a value and shape."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self._onnx, self._graph = onnx, graph
        self._shapes = {x.name: tuple(x.dims) for x in graph.initializer}
        self._made: set[str] = set()

    def like(self, name: str, value: int) -> str:
        """The name of a uint8 zero point `value` of the shape of the constant `name`."""
        shape = self._shapes[name]
        made = "_".join(map(str, ("zero_at", value, *shape)))
        if made not in self._made:
            self._made.add(made)
            array = np.full(shape, value, np.uint8)
            self._graph.initializer.append(self._onnx.numpy_helper.from_array(array, made))
            self._shapes[made] = shape
        return made
