"""The types of an ONNX file's constants, read without the onnx package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ofp_edge.errors import BundleError
from ofp_edge.onnx_file import tensor_types


def graph(*nodes: onnx.NodeProto, constants: list[onnx.TensorProto] | None = None) -> bytes:
    made = helper.make_graph(list(nodes), "main", [], [], constants or [])
    return bytes(helper.make_model(made).SerializeToString())


def constant(array: np.ndarray, name: str = "x") -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def test_initializers_are_found() -> None:
    model = graph(
        helper.make_node("Identity", ["x"], ["y"]),
        constants=[constant(np.zeros((300, 3), np.int8)), constant(np.ones(2, np.float32), "w")],
    )
    assert tensor_types(model) == {TensorProto.INT8, TensorProto.FLOAT}


def test_constants_inside_attributes_and_subgraphs_are_found() -> None:
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=constant(np.zeros(1, np.int8)))],
        "then", [], [helper.make_tensor_value_info("c", TensorProto.INT8, [1])],
    )  # fmt: skip
    model = graph(helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=inner))
    assert tensor_types(model) == {TensorProto.INT8}


def test_sparse_constants_and_functions_are_found() -> None:
    sparse = helper.make_sparse_tensor(
        constant(np.ones(1, np.int8)), constant(np.zeros(1, np.int64), "i"), [4]
    )
    node = helper.make_node("Constant", [], ["c"], sparse_value=sparse)
    function = helper.make_function("own", "f", [], ["c"], [node], [])
    made = helper.make_model(helper.make_graph([], "main", [], []), functions=[function])
    assert tensor_types(made.SerializeToString()) == {TensorProto.INT8, TensorProto.INT64}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_one_error(data: bytes) -> None:
    try:
        tensor_types(data)
    except BundleError as error:
        assert "no ONNX model" in str(error)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_model_is_read_or_refused(data: st.DataObject) -> None:
    model = bytearray(graph(helper.make_node("Identity", ["x"], ["y"]), constants=[
        constant(np.arange(20, dtype=np.int8))
    ]))  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    try:
        tensor_types(bytes(model[: data.draw(st.integers(0, len(model)))]))
    except BundleError:
        pass


def test_a_message_inside_itself_without_end_is_refused() -> None:
    with pytest.raises(BundleError, match="no ONNX model"):
        tensor_types(_nested(400))


def _nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        for field in (6, 5, 1):  # graph of an attribute, attribute of a node, node of a graph
            body = bytes([field << 3 | 2]) + _length(body) + body
    return bytes([7 << 3 | 2]) + _length(body) + body


def _length(body: bytes) -> bytes:
    value, out = len(body), bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
