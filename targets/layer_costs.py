"""Count the costs of each layer of a deployed function: operations, and bytes of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ofp_edge.functions import Tensor
from ofp_edge.targets.export import example_inputs

_LINEAR = ("linear",)
_CONVOLUTION = ("conv1d", "conv2d", "convolution")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d")
_PRODUCT = ("matmul", "mm", "bmm")


@dataclass(frozen=True)
class Layer:
    """One matrix product or convolution of one call.

    precision: "int8" where its input is quantised, else "fp32". flops: a multiply-add is two.
    weight_bytes: of its constants in that precision, 0 for a product of two activations.
    """

    name: str
    operation: str
    precision: str
    flops: int
    weight_bytes: int


def layers(module: nn.Module, inputs: Sequence[Tensor]) -> list[Layer]:
    """Return the layers of `module` (float, or quantised by PT2E) in the order of its graph."""
    graph = torch.export.export(module, example_inputs(inputs)).graph
    found = []
    for node in graph.nodes:
        operation = _operation(node)
        if operation is None:
            continue
        source, weight = node.args[0], node.args[1]
        precision = "int8" if "dequantize" in str(getattr(source, "target", "")) else "fp32"
        constant = _is_constant(weight)
        count = weight.meta["val"].numel() if constant else 0
        found.append(
            Layer(
                _name(weight if constant else node),
                operation,
                precision,
                _flops(operation, node),
                count * (1 if precision == "int8" else 4),
            )
        )
    return found


def _operation(node: torch.fx.Node) -> str | None:
    """The aten operation's name when it is one that counts."""
    if node.op != "call_function":
        return None
    namespace, _, rest = str(node.target).partition(".")
    name = rest.partition(".")[0]
    counts = namespace == "aten" and name in (*_LINEAR, *_CONVOLUTION, *_TRANSPOSED, *_PRODUCT)
    return name if counts else None


def _flops(operation: str, node: torch.fx.Node) -> int:
    arguments: Any = node.args
    source, weight = arguments[0].meta["val"], arguments[1].meta["val"]
    out = node.meta["val"].numel()
    if operation in _PRODUCT:
        return 2 * int(out * source.shape[-1])
    each = weight.numel() // weight.shape[0]
    return 2 * int((source.numel() if operation in _TRANSPOSED else out) * each)


def _is_constant(node: Any) -> bool:
    """Whether nothing but the network's own numbers leads to this value."""
    if node.op == "placeholder":  # torch.export's prefixes of parameters, buffers, constants
        return bool(node.name.startswith(("p_", "b_", "c_")))
    return bool(node.all_input_nodes) and all(_is_constant(x) for x in node.all_input_nodes)


def _name(node: Any) -> str:
    """The parameter that the value was made from, or the node's own name."""
    while node.op == "call_function" and node.all_input_nodes and _is_constant(node):
        node = node.all_input_nodes[0]
    name: str = node.name
    return name.removeprefix("p_").removeprefix("b_")
