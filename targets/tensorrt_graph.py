"""Check a graph against TensorRT 10.3: its operator table as data, and the rules around it.

tensorrt_operators.json says where the table comes from. What passes here is a strongly typed
network: every tensor's type is the graph's own, and int8 is symmetric QuantizeLinear and
DequantizeLinear pairs. Passing is a necessary condition; only a build on the device proves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ofp_edge.errors import OfpError
from ofp_edge.extras import require
from ofp_edge.files import read_json
from ofp_edge.targets.built import Built

_TABLE = Path(__file__).parent / "tensorrt_operators.json"
_HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTISE = ("QuantizeLinear", "DequantizeLinear")
_NAMES = {
    "FLOAT": "FP32", "FLOAT16": "FP16", "BFLOAT16": "BF16", "INT8": "INT8", "INT32": "INT32",
    "INT64": "INT64", "UINT8": "UINT8", "BOOL": "BOOL", "DOUBLE": "FP32",
}  # fmt: skip
# Inputs of these kinds must be constants for the parser, by position (operators.md, restrictions).
_CONSTANT = {
    "Squeeze": 1, "Unsqueeze": 1, "ReduceMean": 1, "ReduceSum": 1, "ReduceMax": 1, "ReduceMin": 1,
    "CumSum": 1,
}  # fmt: skip


@cache
def operator_table() -> dict[str, Any]:
    """Read {"tensorrt", "source", "opset": [first, last], "operators": {name: {"types", ...}}}."""
    table: dict[str, Any] = read_json(_TABLE)
    return table


def check_graphs(graphs: Sequence[Built]) -> dict[str, Any]:
    """Return, by file, the layers that do not run in the graph's precision; and the table's origin.

    Plain JSON for the manifest. OfpError names the first node that is refused.
    """
    table = operator_table()
    return {
        "operator_table": table["tensorrt"],
        "source": table["source"],
        "higher_precision": {
            x.file: check_graph(x.exported.model, x.precision, x.file) for x in graphs
        },
    }


def check_graph(model: bytes, precision: str, where: str) -> list[str]:
    """Check an ONNX graph against the table. OfpError names the first node that is refused.

    precision: fp32, fp16 or int8, the graph's name for it. where: its file, for the error. Returns
    the layers with weights that do not run in that precision, as `weight (type)`.
    """
    onnx = require("onnx", "quantize")
    proto = onnx.shape_inference.infer_shapes(
        onnx.load_model_from_string(model), strict_mode=True, data_prop=True
    )
    table = operator_table()
    version = f"TensorRT {table['tensorrt']}"
    for entry in proto.opset_import:
        first, last = table["opset"]
        if entry.domain not in ("", "ai.onnx") or not first <= entry.version <= last:
            raise OfpError(
                f"{where}: opset {entry.domain or 'ai.onnx'} {entry.version}, {version} reads "
                f"{first} to {last} of ai.onnx."
            )
    graph = _Graph(proto.graph, onnx)
    for node in proto.graph.node:
        if (why := _refused(node, graph, table["operators"])) is not None:
            raise OfpError(f"{where}: {node.op_type} {node.name}: {why} ({version}).")
    return _higher(graph, precision)


class _Graph:
    """Types, shapes and constants of a graph by tensor name."""

    def __init__(self, graph: Any, onnx: Any) -> None:
        self.nodes = list(graph.node)
        self.constants = {item.name: item for item in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.constants[node.output[0]] = attribute.t
        self.made_by = {name: node for node in graph.node for name in node.output}
        kind = onnx.TensorProto.DataType.Name
        self.types = {name: kind(item.data_type) for name, item in self.constants.items()}
        self.ranks = {name: len(item.dims) for name, item in self.constants.items()}
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            self.types[value.name] = kind(tensor.elem_type)
            self.ranks[value.name] = len(tensor.shape.dim)
        self._onnx = onnx

    def values(self, name: str) -> Any:
        """A constant's values."""
        return self._onnx.numpy_helper.to_array(self.constants[name])

    def type_of(self, name: str) -> str:
        """FP32, INT8 …, or ONNX's own name for what TensorRT has no name for."""
        kind: str = self.types[name]
        return _NAMES.get(kind, kind)


def _refused(node: Any, graph: _Graph, operators: dict[str, Any]) -> str | None:
    kind = node.op_type
    if kind not in operators:
        return "not in the operator table"
    allowed = operators[kind]["types"]
    if kind == "Constant":
        return None
    if allowed and (got := graph.type_of(node.input[0])) not in allowed:
        return f"takes {', '.join(allowed)}, got {got}"
    if kind in _QUANTISE:
        return _asymmetric(node, graph)
    if kind in ("Conv", "ConvTranspose", "MaxPool") and graph.ranks[node.input[0]] != 4:
        # Its 1-D form is padded to two dimensions, which moves quantise pairs away from the layer.
        return f"input of {graph.ranks[node.input[0]]} dimensions, expected 4 (Conv1d as 1 x k)"
    if kind == "MaxPool" and len(node.output) > 1:
        return "gives indices"
    position = _CONSTANT.get(kind)
    if position is not None and len(node.input) > position:
        if node.input[position] not in graph.constants:
            return "axes are no constant"
    return None


def _asymmetric(node: Any, graph: _Graph) -> str | None:
    """Why a quantise or dequantise node is not of the symmetric int8 form."""
    if len(node.input) < 3:
        return "has no zero point, so its type is uint8"
    for name in node.input[1:]:
        if name not in graph.constants:
            return "scale or zero point is no constant"
    zero = graph.values(node.input[2])
    if graph.type_of(node.input[2]) != "INT8" or zero.any():
        return "zero point is not an int8 0"
    scale = graph.values(node.input[1])
    if not (scale > 0).all():
        return "scale is not positive"
    source = node.input[0]
    before = graph.made_by.get(source)
    of_weight = source in graph.constants or (
        before is not None and before.op_type in _QUANTISE and before.input[0] in graph.constants
    )
    return None if of_weight or scale.size == 1 else "activation has a scale for each channel"


def _higher(graph: _Graph, precision: str) -> list[str]:
    found = []
    for node in graph.nodes:
        if node.op_type not in _HEAVY:
            continue
        kinds = [_computed_in(name, graph) for name in node.input[:2]]
        runs_in = "int8" if kinds == ["int8", "int8"] else graph.type_of(node.input[0]).lower()
        if runs_in != precision:
            found.append(f"{_weight_name(node, graph)} ({runs_in})")
    return found


def _computed_in(name: str, graph: _Graph) -> str:
    """ "int8" for what a dequantise node gives, else the tensor's own type."""
    node = graph.made_by.get(name)
    while node is not None and node.op_type in ("Transpose", "Reshape"):
        node = graph.made_by.get(node.input[0])
    if node is not None and node.op_type == "DequantizeLinear":
        return "int8"
    return graph.type_of(name).lower()


def _weight_name(node: Any, graph: _Graph) -> str:
    """The constant behind a layer's second input, without suffixes; the node's name otherwise."""
    name = node.input[1]
    while name not in graph.constants:
        before = graph.made_by.get(name)
        if before is None or not before.input:
            return str(node.name)
        name = before.input[0]
    return str(name).removesuffix(".weight").removeprefix("function.")
