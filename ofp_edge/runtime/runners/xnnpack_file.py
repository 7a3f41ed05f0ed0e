"""Check the graph that XNNPACK is given inside an ExecuTorch program, before it is used.

XNNPACK reads weights through bare pointers, as far as a shape says; ExecuTorch reads axes and
scales as far as a count says, and arguments by the numbers that the graph has for them. Each must
lie where there is something.
"""

from __future__ import annotations

import math

from ofp_edge.runtime.runners.flatbuffer import Reader, Row

_ONE = ("input u4", "output u4", "flags u4")
_TWO = ("input1 u4", "input2 u4", "output u4", "flags u4")
_CONV = (
    *(f"setting{i} u4" for i in range(4)), "rows u4", "columns u4",
    *(f"setting{i} u4" for i in range(4, 8)), "taken u4", "given u4", "groups u4", "setting8 u4",
    "setting9 u4", "input u4", "filter u4", "bias u4", "output u4", "flags u4",
)  # fmt: skip
_POOL = (*(f"setting{i} u4" for i in range(10)), *_ONE)
_CAT = (
    "axis u4",
    "input1 u4",
    "input2 u4",
    "input3 u4",
    "input4 u4",
    "output u4",
    "flags u4",
    "input5 u4",
)
_NODES: dict[str, tuple[str, ...]] = {
    "Add": _TWO,
    "FullyConnected": ("input u4", "filter u4", "bias u4", "output u4", "flags u4"),
    "Softmax": _ONE, "Sigmoid": _ONE,
    "StaticTranspose": ("num_dims u4", "axes [u4]", *_ONE),
    "Clamp": _ONE, "Conv2d": _CONV, "Div": _TWO,
    "StaticResizeBilinear2D": ("height u4", "width u4", *_ONE),
    "StaticConstantPad": ("before [u4]", "after [u4]", "value f4", *_ONE),
    "AvgPooling2d": _POOL, "Minimum": _TWO, "DepthwiseConv2d": _CONV, "MaxPooling2d": _POOL,
    "Multiply": _TWO, "Subtract": _TWO, "Floor": _ONE, "Convert": _ONE,
    "GlobalAvgPooling2d": _ONE,
    "StaticReshape": ("num_dims u4", "axes [u4]", *_ONE),
    "ArgMaxPooling2d": (*(f"setting{i} u4" for i in range(6)), "input u4", "output u4",
                        "output2 u4", "flags u4"),
    "SquareRoot": _ONE, "Ceiling": _ONE, "Hardswish": _ONE, "LeakyReLU": ("slope f4", *_ONE),
    "Maximum": _TWO, "Negate": _ONE, "Square": _ONE, "ELU": ("alpha f4", *_ONE), "Abs": _ONE,
    "PReLU": _TWO, "Concatenate2": _CAT, "Concatenate3": _CAT, "Concatenate4": _CAT,
    "StaticSlice": ("num_dims u4", "axes [u4]", "sizes [u4]", *_ONE),
    "ScaledDotProductAttention": ("input1 u4", "input2 u4", "input3 u4", "input4 u4", "input5 u4",
                                  "output u4", "flags u4"),
    "BatchMatrixMultiply": _TWO, "Concatenate5": _CAT, "ConvTranspose2d": _CONV,
    "ReciprocalSquareRoot": _ONE, "Log": _ONE, "Gelu": _ONE, "Tanh": _ONE, "Exp": _ONE,
    "Sin": _ONE, "Copy": _ONE, "Cos": _ONE,
}  # fmt: skip
_SCHEMA = {
    "Graph": (
        "version s", "nodes [Node]", "values [Value]", "externals u4", "inputs [u4]",
        "outputs [u4]", "inline [Inline]", "memory [u4]", "constants [Constant]",
    ),
    "Node": (f"node Union:{','.join(_NODES)}", "handle u4", "limits Limits"),
    "Limits": ("low f4", "high f4"),
    "Value": ("value Union:Tensor,Quantized",),
    "Tensor": (
        "type i2", "num_dims u4", "dims [u4]", "constant u4", "external u4", "flags u4", "id u4",
        "dynamic i2",
    ),
    "Quantized": ("tensor Tensor", "scale Union:PerChannel,PerTensor,PerToken,PerGroup"),
    "PerChannel": ("scale [f4]", "axis i4", "buffer u4", "count u4"),
    "PerTensor": ("scale f4", "zero_point i4"),
    "PerToken": ("axes i4",),
    "PerGroup": ("scale [f4]", "axis i4", "size i4", "old [u2]", "buffer u4", "count u4"),
    "Inline": ("data [u1]",),
    "Constant": ("offset u8", "size u8", "key s"),
    **_NODES,
}  # fmt: skip
_BITS = {
    1: 32,
    2: 16,
    3: 8,
    4: 8,
    5: 32,
    6: 8,
    7: 32,
    8: 4,
    9: 8,
    10: 4,
    11: 8,
    12: 32,
    13: 32,
    14: 16,
}
_NONE = 0xFFFFFFFF  # XNN_INVALID_VALUE_ID
_MOST_AXES, _MOST_VALUES = 6, 1 << 20
_EXTRA_INPUTS = {"Concatenate2": 2, "Concatenate3": 3, "Concatenate4": 4, "Concatenate5": 5}


def check_graph(
    blob: memoryview, named: dict[str, int], calls: list[list[tuple[int, ...] | None]]
) -> None:
    """Raise ValueError if a graph contradicts itself. named: bytes of the program's data by name.

    calls: the shapes of the arguments that the program gives it; None: no tensor.
    """
    graph, constant_bytes = _parts(blob)
    constants = _constant_sizes(graph, constant_bytes, named)
    ranks: dict[int, int] = {}
    tensors: dict[int, Row] = {}
    for value in graph["values"]:
        tensor = _tensor_of(value)
        _check_tensor(tensor, constants)
        ranks[tensor["id"]], tensors[tensor["id"]] = tensor["num_dims"], tensor
        if value["value_kind"] == "Quantized":
            _check_scales(value["value"], tensor, constants)
    for node in graph["nodes"]:
        _check_node(node, ranks)
        _check_weights(node, tensors)
    _check_order(graph, tensors)
    _check_externals(graph, tensors, calls)


def _parts(blob: memoryview) -> tuple[Row, int]:
    """The graph, and how many bytes of constants follow it."""
    size = len(blob)
    if bytes(blob[4:8]) != b"XH00":
        return Reader(blob, _SCHEMA).root("Graph"), 0
    if size < 30:
        raise ValueError("XNNPACK's header is cut off")
    start, length, first = (int.from_bytes(blob[at : at + 4], "little") for at in (10, 14, 18))
    count = int.from_bytes(blob[22:30], "little")
    if start + length > size or first + count > size:
        raise ValueError("XNNPACK's data are cut off")
    return Reader(blob[start : start + length], _SCHEMA).root("Graph"), count


def _constant_sizes(graph: Row, count: int, named: dict[str, int]) -> list[int]:
    """Bytes that are there for each constant; the first stands for none."""
    if graph["inline"] and not graph["constants"]:
        return [len(x["data"]) for x in graph["inline"]]
    sizes = []
    for item in graph["constants"]:
        if item["key"]:
            if item["key"] not in named:
                raise ValueError("XNNPACK's constants are not there")
            sizes.append(named[item["key"]])
        else:
            sizes.append(max(0, count - item["offset"]))
    return sizes


def _tensor_of(value: Row) -> Row:
    inner: Row | None = value["value"]
    if inner is not None and value["value_kind"] == "Quantized":
        inner = inner["tensor"]
    if inner is None:
        raise ValueError("a value of XNNPACK's without a tensor")
    return inner


def _check_tensor(tensor: Row, constants: list[int]) -> None:
    dims = tensor["dims"]
    if tensor["type"] not in _BITS or tensor["dynamic"] not in (0, *_BITS):
        raise ValueError("a type that XNNPACK has not")
    if tensor["num_dims"] != len(dims) or len(dims) > _MOST_AXES:
        raise ValueError("a tensor of XNNPACK's whose axes are not there")
    if tensor["id"] >= _MOST_VALUES:
        raise ValueError("a value of XNNPACK's beyond all numbers")
    if index := tensor["constant"]:
        need = -(-math.prod(dims) * _BITS[tensor["type"]] // 8)
        if index >= len(constants) or need > constants[index]:
            raise ValueError("a weight is larger than its data")


def _check_scales(value: Row, tensor: Row, constants: list[int]) -> None:
    kind, scale, dims = value["scale_kind"], value["scale"], tensor["dims"]
    if scale is None:
        raise ValueError("a quantised tensor without its scale")
    if kind not in ("PerChannel", "PerGroup"):
        return
    if not 0 <= scale["axis"] < len(dims):
        raise ValueError("scales along an axis that is not there")
    need = dims[scale["axis"]]
    if kind == "PerGroup":
        if scale["size"] <= 0 or len(dims) != 2:
            raise ValueError("groups of no size")
        need *= -(-dims[1 - scale["axis"]] // scale["size"])
    have = len(scale["scale"])
    if not have:
        if not 0 < scale["buffer"] < len(constants):
            raise ValueError("scales that are not there")
        have = min(scale["count"], constants[scale["buffer"]] // (2 if kind == "PerGroup" else 4))
    if have < need:
        raise ValueError(f"{have} scales for {need} channels")


def _check_node(node: Row, ranks: dict[int, int]) -> None:
    kind, values = node["node_kind"], node["node"]
    if values is None:
        raise ValueError("a node of XNNPACK's without content")
    reads, writes = _uses(node)
    if any(x not in ranks for x in (*reads, *writes)):
        raise ValueError("a node of XNNPACK's names a value that is not there")
    if "axes" in values:
        count = values["num_dims"]
        lists = [values[name] for name in ("axes", "sizes") if name in values]
        if count > _MOST_AXES or any(len(x) != count for x in lists):
            raise ValueError("a node of XNNPACK's whose axes are not there")
        if kind == "StaticTranspose" and sorted(values["axes"]) != list(range(count)):
            raise ValueError("a transposition that is none")
        if kind != "StaticReshape" and count != ranks[values["input"]]:
            raise ValueError("a node of XNNPACK's of other axes than its input")
    if kind == "StaticConstantPad" and not (
        len(values["before"]) == len(values["after"]) == ranks[values["input"]]
    ):
        raise ValueError("a padding of other axes than its input")


def _uses(node: Row) -> tuple[list[int], list[int]]:
    """The numbers of the values that a node reads, and of those that it writes."""
    reads, writes = [], []
    most = _EXTRA_INPUTS.get(node["node_kind"], 5)
    for name, number in node["node"].items():
        place = name.rstrip("12345")
        if place == "output":
            writes.append(number)
        elif place == "input" and int(name[5:] or 1) <= most:
            reads.append(number)
        elif place == "filter" or (place == "bias" and number != _NONE):
            reads.append(number)
    return reads, writes


def _check_weights(node: Row, tensors: dict[int, Row]) -> None:
    """A layer reads as many weights as its own numbers say."""
    values, kind = node["node"], node["node_kind"]
    if "filter" not in values:
        return
    dims, channels = tuple(tensors[values["filter"]]["dims"]), 0
    wanted: set[tuple[int, ...]]
    if kind == "FullyConnected":
        channels = max(dims, default=0)  # either order of its two axes
        wanted = {dims} if len(dims) == 2 else set()
    else:
        channels = values["groups"] * values["given"]
        area = values["rows"], values["columns"]
        wanted = {(channels, *area, values["taken"]), (1, *area, channels)}
        if kind == "DepthwiseConv2d":
            wanted.add((1, *area, channels * max(1, values["taken"])))
    bias = values["bias"]
    if dims not in wanted or (
        bias != _NONE and math.prod(tensors[bias]["dims"]) not in (channels, *dims)
    ):
        raise ValueError("a layer of another size than its weights")


def _check_order(graph: Row, tensors: dict[int, Row]) -> None:
    """A value is written once, before it is read; a weight or an argument that is read, never."""
    inputs = set(graph["inputs"])
    known = {number for number, x in tensors.items() if x["constant"] or number in inputs}
    if any(tensors[x]["constant"] for x in (*graph["inputs"], *graph["outputs"]) if x in tensors):
        raise ValueError("an argument of XNNPACK's that is a weight")
    for node in graph["nodes"]:
        reads, writes = _uses(node)
        if any(x not in known for x in reads) or any(x in known for x in writes):
            raise ValueError("a value of XNNPACK's that is read unwritten, or written again")
        known.update(writes)
    if any(x not in known for x in graph["outputs"]):
        raise ValueError("an output of XNNPACK's that nothing writes")


def _check_externals(
    graph: Row, tensors: dict[int, Row], calls: list[list[tuple[int, ...] | None]]
) -> None:
    """Inputs and outputs of the graph are the arguments of its calls, by their numbers."""
    outside = {x["external"]: x for x in tensors.values() if x["external"] != _NONE}
    count = graph["externals"]
    named = [tensors.get(x) for x in (*graph["inputs"], *graph["outputs"])]
    if any(x is None or x["external"] == _NONE for x in named) or len(outside) != len(named):
        raise ValueError("XNNPACK's inputs and outputs are not its external values")
    if any(x >= count for x in outside):
        raise ValueError("an external value beyond their number")
    for shapes in calls:
        for number, tensor in outside.items():
            if number >= len(shapes) or (shape := shapes[number]) is None:
                raise ValueError("XNNPACK reads an argument that is not there")
            if math.prod(shape) != math.prod(tensor["dims"]):
                raise ValueError("an argument of another size than XNNPACK takes it for")
