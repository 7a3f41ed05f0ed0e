"""An exported program as a module that is called with tensors in any order of our choice.

A program may take its tensors in dictionaries or by keyword; the last key is then the input's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as trees

from ofp_edge.errors import PolicyError
from ofp_edge.outside import said_by
from ofp_edge.policy.imported.binding import Named, Names
from ofp_edge.policy.imported.layer_modules import with_layers


class Called:
    """An opened program. inputs, outputs: names and shapes, in its own order."""

    def __init__(self, program: torch.export.ExportedProgram, what: str) -> None:
        with said_by(f"{what}: no program that can be called", PolicyError):
            self._taken, self._given = program.call_spec.in_spec, program.call_spec.out_spec
            signature = program.graph_signature
            values = {node.name: node.meta.get("val") for node in program.graph.nodes}
            self.inputs = _named(self._taken, signature.user_inputs, values)
            self.outputs = _named(self._given, signature.user_outputs, values)
            self._module = with_layers(program.module(check_guards=False)).requires_grad_(False)

    def bound(self, names: Names) -> nn.Module:
        """Return the module that takes the inputs in the order of `names` and gives the answer."""
        own = [name for name, _ in self.inputs]
        places = [own.index(name) for name in names.inputs.values()]
        answer = [name for name, _ in self.outputs].index(str(names.output))
        plain = len(self.outputs) == 1 and self._given.is_leaf()
        if plain and _in_order(self._taken, len(own)) and places == sorted(places):
            return self._module
        return _Rearranged(self._module, self._taken, places, answer)


class _Rearranged(nn.Module):
    """places: of each argument among the program's inputs. answer: of the output."""

    def __init__(
        self, program: nn.Module, taken: trees.TreeSpec, places: Sequence[int], answer: int
    ) -> None:
        super().__init__()
        self.program, self.answer = program, answer
        self._taken, self._order = taken, [places.index(i) for i in range(len(places))]

    def forward(self, *inputs: Tensor) -> Any:
        arguments, named = trees.tree_unflatten([inputs[i] for i in self._order], self._taken)
        return trees.tree_leaves(self.program(*arguments, **named))[self.answer]


def _named(tree: trees.TreeSpec, nodes: Sequence[Any], values: dict[str, Any]) -> Named:
    """Names and shapes of a tree's leaves; a leaf of no node is a constant of the program."""
    paths, _ = trees.tree_flatten_with_path(trees.tree_unflatten(list(nodes), tree))
    keys = [str(x[-1].key) if x and isinstance(x[-1], trees.MappingKey) else None for x, _ in paths]
    names = [key or str(node) for key, node in zip(keys, nodes, strict=True)]
    if len(set(names)) != len(names):  # two dictionaries with one key
        names = [str(node) for node in nodes]
    found = [values.get(x) if isinstance(x, str) else None for x in nodes]
    return [(n, tuple(getattr(x, "shape", ()))) for n, x in zip(names, found, strict=True)]


def _in_order(tree: trees.TreeSpec, count: int) -> bool:
    """Whether the tree is that of `count` plain arguments."""
    return bool(tree == trees.tree_structure(((0,) * count, {})))
