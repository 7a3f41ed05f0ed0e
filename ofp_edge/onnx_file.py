"""The tensors that an ONNX file holds, found without the onnx package: a robot has only an engine.

A walk over protobuf's wire format that steps over whatever it does not look for, weights included:
nothing is copied. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator

from ofp_edge.errors import BundleError

INT8 = 3  # TensorProto.DataType

_MODEL = {7: "graph", 25: "function"}
_INSIDE = {
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_DATA_TYPE = 2  # of a TensorProto
_DEEPEST = 64  # messages inside one another; a graph of ours has 5


def tensor_types(model: bytes) -> set[int]:
    """The data types (TensorProto.DataType) of all constants: weights, zero points, attributes.

    Raises BundleError where the bytes are no protobuf message.
    """
    try:
        return set(_types(memoryview(model), _MODEL, 0))
    except (IndexError, ValueError):
        raise BundleError("the ONNX model is damaged: it is no protobuf message.") from None


def _types(message: memoryview, wanted: dict[int, str], depth: int) -> Iterator[int]:
    if depth > _DEEPEST:
        raise ValueError
    for number, value in _fields(message):
        kind = wanted.get(number)
        if kind is None or isinstance(value, int):
            continue
        if kind == "tensor":
            yield from (x for n, x in _fields(value) if n == _DATA_TYPE and isinstance(x, int))
        else:
            yield from _types(value, _INSIDE[kind], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, whole number or bytes) in their order; fixed-width numbers are left out."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(wire, 0)
        if wire == 2:
            length, at = _varint(message, at)
        if number == 0 or wire not in (1, 2, 5) or at + length > len(message):
            raise ValueError
        if wire == 2:
            yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError
