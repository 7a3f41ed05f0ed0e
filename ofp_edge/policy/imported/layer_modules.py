"""Turn a program's linear layers and convolutions into modules, which quantisation knows.

An exported program calls functions on bare weights. Where a weight lies under a path of its own
(`body.0.weight`), the call becomes the module that it was before the export, at that path. Others
(a weight that is computed, has no name, or is used again with another stride) stay functions.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import fx, nn

_ATEN = torch.ops.aten
_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_SETTINGS = ("stride", "padding", "output_padding", "dilation", "groups")


def with_layers(program: fx.GraphModule) -> fx.GraphModule:
    """Return the same program, changed in place; weights are shared, not copied."""
    for node in list(program.graph.nodes):
        make = _MADE.get(node.target) if node.op == "call_function" else None
        path = _path(program, node) if make is not None else None
        if make is None or path is None:
            continue
        held, layer = program.get_submodule(path), make(node)
        if not isinstance(held, _LAYERS):
            for name, value in held.named_parameters(recurse=False):
                layer.register_parameter(name, value)
            program.set_submodule(path, layer)
        elif not _alike(held, layer):
            continue
        with program.graph.inserting_before(node):
            called = program.graph.call_module(path, (node.args[0],))
        called.meta = dict(node.meta)
        node.replace_all_uses_with(called)
        program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.recompile()
    return program


def _path(program: fx.GraphModule, node: fx.Node) -> str | None:
    """Where the layer's weight and bias lie, if that is a place of their own."""
    if node.kwargs:
        return None
    weight = cast(fx.Node, node.args[1])
    bias = node.args[2] if len(node.args) > 2 else None
    if weight.op != "get_attr" or not str(weight.target).endswith(".weight"):
        return None
    path = str(weight.target).removesuffix(".weight")
    if bias is not None and (not isinstance(bias, fx.Node) or bias.target != f"{path}.bias"):
        return None
    held = program.get_submodule(path)
    names = set(dict(held.named_parameters()))
    if names != set(held.state_dict()):
        return None
    own = {"weight", "bias"} if bias is not None else {"weight"}
    gets = [str(x.target) for x in program.graph.nodes if x.op == "get_attr"]
    beside = {x.removeprefix(f"{path}.") for x in gets if x.startswith(f"{path}.")} - own
    return path if names == own and not beside else None


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether both compute the same of the same weights."""
    return type(one) is type(other) and all(
        getattr(one, name, None) == getattr(other, name, None) for name in _SETTINGS
    )


def _linear(node: fx.Node) -> nn.Module:
    return nn.Linear(1, 1, bias=False)


def _conv2d(node: fx.Node) -> nn.Module:
    stride, padding, dilation, groups = _settings(node, 3, ([1, 1], [0, 0], [1, 1], 1))
    return nn.Conv2d(groups, groups, 1, stride, padding, dilation, groups, bias=False)


def _conv_transpose2d(node: fx.Node) -> nn.Module:
    stride, padding, more, groups, dilation = _settings(
        node, 3, ([1, 1], [0, 0], [0, 0], 1, [1, 1])
    )
    return nn.ConvTranspose2d(
        groups, groups, 1, stride, padding, more, groups, bias=False, dilation=dilation
    )


def _settings(node: fx.Node, first: int, usual: tuple[Any, ...]) -> list[Any]:
    given = list(node.args[first:])
    found = given + list(usual[len(given) :])
    return [tuple(x) if isinstance(x, (list, tuple)) else x for x in found]


_MADE = {
    _ATEN.linear.default: _linear,
    _ATEN.conv2d.default: _conv2d,
    _ATEN.conv_transpose2d.input: _conv_transpose2d,
}
