"""Wrap an ONNX graph as the deployed functions of the policy that it was imported for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ofp_edge.extras import require
from ofp_edge.functions import Tensor as Signature
from ofp_edge.policy.imported.onnx_graph import OnnxModule
from ofp_edge.policy.imported.program import ChunkTrunk, OwnEncoder, ProgramTrunk
from ofp_edge.policy.methods.method import Act, Predict


class OnnxEncoder(OwnEncoder):
    """An encoder that was imported as an ONNX graph."""

    def onnx_graph(self, inputs: Sequence[Signature]) -> Any:
        """Return `encode` as the imported graph, with the names of the function's `inputs`."""
        return encode_graph(cast(OnnxModule, self.program), [x.name for x in inputs])


class OnnxPredict(Predict):
    """The `act` of a deterministic network that was imported as an ONNX graph."""

    def onnx_graph(self, inputs: Sequence[Signature]) -> Any:
        """Return `act` as that graph, wrapped; inputs: the function's."""
        trunk = cast(ChunkTrunk, self.trunk)
        return predict_graph(cast(OnnxModule, trunk.program), self, trunk, inputs[0].shape[1])


class OnnxAct(Act):
    """The `act` of a network that was imported as an ONNX graph."""

    def onnx_graph(self, inputs: Sequence[Signature]) -> Any:
        """Return `act` as that graph, wrapped; inputs: the function's."""
        trunk = cast(ProgramTrunk, self.trunk)
        return act_graph(cast(OnnxModule, trunk.program), self, trunk, inputs[0].shape[1])


def encode_graph(module: OnnxModule, names: Sequence[str]) -> Any:
    """Return `encode` for an encoder that is a graph: its inputs take the fields' names."""
    onnx = require("onnx", "quantize")
    model = onnx.compose.add_prefix(module.model, "net/")  # a field may be called as a value is
    renamed = dict(zip((x.name for x in model.graph.input), names, strict=True))
    renamed[model.graph.output[0].name] = "feature"
    _rename(model.graph, renamed)
    onnx.checker.check_model(model)
    return model


def act_graph(module: OnnxModule, act: Act, trunk: ProgramTrunk, features: int) -> Any:
    """Build `act` around the graph; its time_row is t, r, r - t."""
    onnx = require("onnx", "quantize")
    inner = onnx.compose.add_prefix(module.model, "net/")
    steps, size = trunk.chunk
    constants = {
        "chunk_shape": [1, steps, size],
        "seen_shape": [1, trunk.frames, features // trunk.frames],
        "at0": [0],
        "at1": [1],
        "at2": [2],
        "at3": [3],
    }
    node, ends = onnx.helper.make_node, [x.name for x in inner.graph.input]
    before = [
        node("Reshape", ["z", "chunk_shape"], [ends[0]]),
        node("Reshape", ["features", "seen_shape"], [ends[-1]]),
        node("Slice", ["time_row", "at0", "at1", "axis"], ["t_row"]),
        node("Reshape", ["t_row", "at1"], [ends[1]]),
        node("Slice", ["time_row", "at2", "at3", "axis"], ["step"]),
    ]
    if not trunk.velocity:
        before += [
            node("Slice", ["time_row", "at1", "at2", "axis"], ["r_row"]),
            node("Reshape", ["r_row", "at1"], [ends[2]]),
        ]
    after = [
        node("Reshape", [inner.graph.output[0].name, "flat_shape"], ["u"]),
        node("Mul", ["step", "u"], ["moved"]),
        node("Add", ["z", "moved"], ["chunk_normalised"]),
    ]
    taken = {"features": features, "z": steps * size, "time_row": 3}
    return _wrapped(module, inner, act, taken, (before, after), constants)


def predict_graph(module: OnnxModule, act: Predict, trunk: ChunkTrunk, features: int) -> Any:
    """Build `act` around a graph that gives the chunk itself."""
    onnx = require("onnx", "quantize")
    inner = onnx.compose.add_prefix(module.model, "net/")
    node = onnx.helper.make_node
    before = [node("Reshape", ["features", "seen_shape"], [inner.graph.input[0].name])]
    after = [
        node("Reshape", [inner.graph.output[0].name, "flat_shape"], ["chunk_normalised"]),
    ]
    constants = {"seen_shape": [1, trunk.frames, features // trunk.frames]}
    return _wrapped(module, inner, act, {"features": features}, (before, after), constants)


def _wrapped(
    module: OnnxModule, inner: Any, act: Act | Predict, taken: Mapping[str, int],
    nodes: tuple[Sequence[Any], Sequence[Any]], constants: Mapping[str, Sequence[int]],
) -> Any:  # fmt: skip
    """A graph between nodes before and after it, which end in chunk_normalised; taken: sizes."""
    onnx = require("onnx", "quantize")
    helper, node = onnx.helper, onnx.helper.make_node
    whole = act.actions.slope.shape[1]
    planned_nodes = [
        node("Slice", ["chunk_normalised", "first", "end", "axis"], ["plan"]),
        node("Mul", ["plan", "slope"], ["scaled"]),
        node("Add", ["scaled", "offset"], ["chunk"]),
    ]
    shapes = {"flat_shape": [1, whole], "axis": [1], "first": [act.first], "end": [whole]}

    def value(name: str, count: int) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, count])

    arrays = {name: np.asarray(x, np.int64) for name, x in {**constants, **shapes}.items()}
    planned = {"slope": act.actions.slope, "offset": act.actions.get_buffer("offset")}
    floats = {name: _planned(x, act) for name, x in planned.items()}
    graph = helper.make_graph(
        [*nodes[0], *inner.graph.node, *nodes[1], *planned_nodes],
        "main",
        [value(name, count) for name, count in taken.items()],
        [value("chunk", whole - act.first), value("chunk_normalised", whole)],
        [
            *inner.graph.initializer,
            *(onnx.numpy_helper.from_array(x, n) for n, x in {**arrays, **floats}.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=list(module.model.opset_import))
    onnx.checker.check_model(model)
    return model


def _planned(constant: Tensor, act: Act | Predict) -> NDArray[np.float32]:
    found: NDArray[np.float32] = constant[:, act.first :].numpy()
    return found


def _rename(graph: Any, names: dict[str, str]) -> None:
    for item in (*graph.input, *graph.output):
        item.name = names.get(item.name, item.name)
    for node in graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(x, x) for x in ends]
