"""A graph that would read another file is refused before an engine sees it, wherever it says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ofp_edge.bundle import open_bundle
from ofp_edge.errors import BundleError, PolicyError
from ofp_edge.onnx_file import require_self_contained
from ofp_edge.policy.imported.onnx_graph import read_graph
from ofp_edge.runtime.infer.load import load_inference
from tests.runtime.small_bundle import write_small_bundle
from tests.sealed import SPEC, seal

PLACES = ["secret.bin", "../secret.bin", "/SECRET", "link/secret.bin"]


def outside(location: str = "secret.bin") -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph(*tensors: TensorProto, nodes: Any = ()) -> onnx.GraphProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (2,))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (2,))
    nodes = nodes or [helper.make_node("Identity", ["x"], ["y"])]
    return helper.make_graph(list(nodes), "g", [x], [y], list(tensors))


def model(of: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(of, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def with_attribute(**values: Any) -> onnx.GraphProto:
    return graph(nodes=[helper.make_node("Constant", [], ["y"], **values)])


def sparse() -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.zeros(2, np.int64), "i")
    return helper.make_sparse_tensor(outside(), indices, [4])


def in_function() -> onnx.ModelProto:
    made = model(graph())
    nodes = with_attribute(value=outside()).node
    made.functions.append(
        helper.make_function("own", "F", [], ["y"], nodes, [helper.make_opsetid("", 18)])
    )
    return made


def in_function_default() -> onnx.ModelProto:
    made = in_function()
    del made.functions[0].node[:]
    made.functions[0].attribute_proto.append(helper.make_attribute("v", outside()))
    return made


def in_training() -> onnx.ModelProto:
    made = model(graph())
    made.training_info.add().initialization.CopyFrom(graph(outside()))
    return made


def in_sparse_initializer(indices: bool) -> onnx.ModelProto:
    made = model(graph())
    found = sparse()
    if indices:
        found.indices.CopyFrom(outside())
        found.values.CopyFrom(numpy_helper.from_array(np.zeros(2, np.float32), "v"))
    made.graph.sparse_initializer.append(found)
    return made


def location_alone() -> onnx.ModelProto:
    made = model(graph(outside()))
    del made.graph.initializer[0].external_data[:]
    return made


def entries_alone() -> onnx.ModelProto:
    made = model(graph(outside()))
    made.graph.initializer[0].ClearField("data_location")
    return made


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "an initializer": lambda: model(graph(outside())),
    "a constant": lambda: model(with_attribute(value=outside())),
    "a list of tensors": lambda: model(with_attribute(own=[outside()])),
    "a sparse constant": lambda: model(with_attribute(sparse_value=sparse())),
    "sparse constants": lambda: model(with_attribute(own=[sparse()])),
    "a subgraph": lambda: model(with_attribute(body=graph(outside()))),
    "subgraphs": lambda: model(with_attribute(bodies=[graph(), graph(outside())])),
    "a subgraph of a subgraph": lambda: model(
        with_attribute(body=with_attribute(body=with_attribute(value=outside())))),
    "a function": in_function,
    "a function's default": in_function_default,
    "the training": in_training,
    "sparse values": lambda: in_sparse_initializer(False),
    "sparse indices": lambda: in_sparse_initializer(True),
    "the location alone": location_alone,
    "the entries alone": entries_alone,
}  # fmt: skip


@pytest.mark.parametrize("place", sorted(MODELS))
def test_a_tensor_in_another_file_is_found_wherever_it_stands(place: str) -> None:
    data = MODELS[place]().SerializeToString()
    with pytest.raises(BundleError, match="keeps weights in"):
        require_self_contained(data, "act.onnx")
    with pytest.raises(PolicyError, match="keeps weights in"):
        read_graph(data, "act.onnx")


def test_a_graph_that_holds_its_weights_passes() -> None:
    whole = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    sure = helper.make_tensor("v", TensorProto.FLOAT, [2], [1.0, 2.0])
    sure.data_location = TensorProto.DEFAULT
    require_self_contained(model(graph(whole, sure)).SerializeToString(), "act.onnx")


def test_a_field_that_is_given_twice_is_looked_at_twice() -> None:
    good, bad = model(graph()).SerializeToString(), model(graph(outside())).SerializeToString()
    for data in (good + bad, bad + good):  # protobuf merges them
        assert onnx.load_from_string(data).graph.initializer
        with pytest.raises(BundleError, match="another file"):
            require_self_contained(data, "act.onnx")


@pytest.mark.parametrize("depth", [10, 5000])
def test_graphs_in_graphs_end(depth: int) -> None:
    inner = b""
    for _ in range(depth):  # graph { node { attribute { g
        for field in (6, 5, 1):
            inner = bytes([field << 3 | 2]) + varint(len(inner)) + inner
    data = bytes([7 << 3 | 2]) + varint(len(inner)) + inner
    if depth == 10:
        require_self_contained(data, "act.onnx")
    else:
        with pytest.raises(BundleError, match="nested deeper"):
            require_self_contained(data, "act.onnx")


def varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


@settings(max_examples=300)
@given(st.data())
def test_what_protobuf_reads_as_naming_a_file_is_refused_and_noise_is_one_line(
    data: st.DataObject,
) -> None:
    """Of damaged bytes too: what the walk lets pass names no file by protobuf's own reading."""
    made = bytearray(MODELS[data.draw(st.sampled_from(sorted(MODELS)))]().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    try:
        require_self_contained(bytes(made), "act.onnx")
    except BundleError as cause:
        assert "\n" not in str(cause)
        return
    try:
        read_graph(bytes(made), "act.onnx")
    except PolicyError as cause:
        assert "another file" not in str(cause)


@pytest.mark.parametrize("location", PLACES)
def test_no_session_reads_a_file_outside_its_bundle(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_small_bundle(tmp_path / "bundle", SPEC, {})
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "secret.bin").write_bytes(bytes(1 << 16))
    file = path / "act.fp32.onnx"
    graph = onnx.load_from_string(file.read_bytes())
    tensor = graph.graph.initializer[0]
    named = outside(location.replace("/SECRET", str(tmp_path / "secret.bin")))
    named.name, named.dims[:] = tensor.name, tensor.dims
    tensor.CopyFrom(named)
    file.write_bytes(graph.SerializeToString())
    seal(path)
    monkeypatch.chdir(tmp_path / "run")
    with pytest.raises(BundleError, match="keeps weights in"):
        load_inference(open_bundle(path))
    assert os.listdir(tmp_path / "run") == ["secret.bin"]
