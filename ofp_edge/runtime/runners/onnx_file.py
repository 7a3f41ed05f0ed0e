"""What an ONNX model would read besides its own bytes: found by a walk over its protobuf.

A tensor may say that its data lie in another file (`external_data`). An engine that is given a
model as bytes looks for that file from the working directory, wherever it leads. A bundle's graphs
hold their weights, so such a tensor is refused here, before an engine sees the model.

The walk knows of onnx.proto only which fields hold messages that may lead to a tensor; every other
field is passed over by its length. It needs no package, so the robot can do it.
"""

from __future__ import annotations

from ofp_edge.errors import BundleError

# Field numbers of onnx.proto (fixed for good): message -> field -> what the field holds.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}  # fmt: skip
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 100  # protobuf's own limit


def require_self_contained(model: bytes, what: str) -> None:
    """Raise BundleError when a model names another file, or is no model."""
    waiting: list[tuple[str, int, int, int]] = [("model", 0, len(model), 0)]
    try:
        while waiting:
            kind, at, end, depth = waiting.pop()
            if depth > _DEEPEST:
                raise ValueError(f"nested deeper than {_DEEPEST} levels")
            while at < end:
                key, at = _varint(model, at, end)
                field, wire = key >> 3, key & 7
                if kind == "tensor":
                    _check_tensor(field, wire, model, at, end, what)
                start, at = _skip(wire, model, at, end)
                inner = _FIELDS.get(kind, {}).get(field)
                if inner is not None and wire == _BYTES:
                    waiting.append((inner, start, at, depth + 1))
    except ValueError as cause:
        raise BundleError(f"{what} is no ONNX model: {cause}.") from None


def _check_tensor(field: int, wire: int, data: bytes, at: int, end: int, what: str) -> None:
    outside = field == _EXTERNAL_DATA and wire == _BYTES
    if field == _DATA_LOCATION and wire == _VARINT:
        outside = _varint(data, at, end)[0] != 0
    if outside:
        raise BundleError(
            f"{what} keeps weights in another file, which a bundle's graph may not: an engine "
            "would look for it from the working directory. Compile the policy again."
        )


def _skip(wire: int, data: bytes, at: int, end: int) -> tuple[int, int]:
    """(first, last + 1) of a field's content. ValueError where it leaves its message."""
    if wire == _BYTES:
        size, at = _varint(data, at, end)
        stop = at + size
    elif wire == _VARINT:
        stop = _varint(data, at, end)[1]
    elif wire in (_FIXED32, _FIXED64):
        stop = at + (4 if wire == _FIXED32 else 8)
    else:
        raise ValueError(f"wire type {wire}")  # groups: onnx.proto has none
    if stop > end:
        raise ValueError("a field is longer than its message")
    return at, stop


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("a number without an end")
