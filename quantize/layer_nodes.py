"""The layers of an exported function: those to quantise, and those a recipe leaves in float."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ofp_edge.policy.codes import CHOICE
from ofp_edge.quantize.recipes import KEEP_FLOAT, Recipe

_ATEN = torch.ops.aten
_OPERATIONS = {
    _ATEN.linear.default: "linear",
    _ATEN.conv2d.default: "conv2d",
    _ATEN.conv_transpose2d.input: "conv_transpose2d",
}
_ACTIVATIONS = (_ATEN.relu.default, _ATEN.relu_.default)  # engines fuse these into the layer


@dataclass(frozen=True)
class LayerNode:
    """A linear or convolution node of an exported graph.

    name: the module's path, e.g. "trunk.blocks.0.up". last: where its result is quantised, the
    node itself or the activation fused into it.
    """

    name: str
    operation: str
    node: fx.Node
    last: fx.Node

    @property
    def channel_axis(self) -> int:
        """Return the axis of its weight that counts the outputs."""
        return weight_axis(self.node)

    @property
    def input(self) -> fx.Node:
        """Return what the layer reads."""
        return _node(self.node.args[0])

    @property
    def weight(self) -> fx.Node:
        """Return its weight."""
        return _node(self.node.args[1])


def export_graph(module: nn.Module, example: Sequence[Tensor]) -> fx.GraphModule:
    """Export the module as a flat graph of aten operations, on fixed shapes."""
    exported = torch.export.export(module, tuple(example)).module()
    if not isinstance(exported, fx.GraphModule):
        raise TypeError(f"torch.export gave {type(exported).__name__}")
    return exported


def is_layer(node: fx.Node) -> bool:
    """Return whether the node is a linear layer or a convolution."""
    return node.target in _OPERATIONS


def weight_axis(node: fx.Node) -> int:
    """Return the axis of a layer's weight that counts the outputs."""
    return 1 if node.target is _ATEN.conv_transpose2d.input else 0


def find_layers(graph: fx.GraphModule) -> list[LayerNode]:
    """Return every linear and convolution, in the order of execution."""
    layers = []
    for node in graph.graph.nodes:
        if is_layer(node):
            users = list(node.users)
            fused = len(users) == 1 and users[0].target in _ACTIVATIONS
            name = str(_node(node.args[1]).target).removesuffix(".weight")
            layers.append(
                LayerNode(name, _OPERATIONS[node.target], node, users[0] if fused else node)
            )
    return layers


def float_reasons(
    graph: fx.GraphModule, function: str, recipe: Recipe, chunk: Sequence[int] | None = None
) -> dict[str, str]:
    """Return the layers of `function` that the recipe keeps in float, by name, with the reason.
    chunk: the places of those inputs that hold a chunk; by default as `encode_and_act` has them.
    """
    reasons = {}
    for layer in find_layers(graph):
        if layer.operation not in recipe.operations:
            reasons[layer.name] = f"recipe {recipe.name} quantises no {layer.operation}"
    if function != "act":
        return reasons
    names = {layer.node: layer.name for layer in find_layers(graph)}
    inputs = [n for n in graph.graph.nodes if n.op == "placeholder"]
    outputs = next(n for n in graph.graph.nodes if n.op == "output")
    # z is act's second input, where it takes any; what is committed comes after the time row.
    given = (*inputs[1:2], *inputs[3:]) if chunk is None else [inputs[i] for i in chunk]
    ends = {
        "noise_input": [y for x in given for y in _nearest(x, names, lambda n: n.users)],
        "velocity_output": [*_nearest(outputs, names, lambda n: n.all_input_nodes)],
        "code_choice": [n for n, name in names.items() if name in CHOICE],
    }
    for rule in recipe.keep_float:
        reasons.update({names[node]: KEEP_FLOAT[rule] for node in ends[rule]})
    return reasons


def _nearest(
    start: fx.Node,
    layers: dict[fx.Node, str],
    step: Callable[[fx.Node], Sequence[fx.Node] | dict[fx.Node, None]],
) -> Iterator[fx.Node]:
    """The layers reached from `start` without passing through another layer."""
    seen, waiting = {start}, [start]
    while waiting:
        for node in step(waiting.pop()):
            if node not in seen:
                seen.add(node)
                if node in layers:
                    yield node
                else:
                    waiting.append(node)


def _node(value: object) -> fx.Node:
    if not isinstance(value, fx.Node):
        raise TypeError(f"expected a node, got {value!r}")
    return value
