"""Check the JSON of an exported program before torch is given it.

torch.export.load turns this JSON into Python source and runs it: names of inputs, weights and nodes
enter that source unchanged, and some entries are imported or evaluated. So every name must be a
plain identifier, every operation on our list, every argument a plain value of a sane size; what is
only for people is dropped.
"""

from __future__ import annotations

import keyword
import math
import re
from typing import Any, NoReturn

from ofp_edge.errors import PolicyError
from ofp_edge.policy.imported.operations import is_allowed
from ofp_edge.strict import parse_json, shown

_WORD = re.compile(r"(?:[A-Za-z0-9_]{1,200}(?:\.[A-Za-z0-9_]{1,200}){0,40})?")
_PATH = re.compile(r"(?:[A-Za-z0-9_/-]{1,200}(?:\.[A-Za-z0-9_/-]{1,200}){0,40})?")
_VERSION = re.compile(r"[A-Za-z0-9_.+-]{0,80}")
_PATHS = ("parameter_name", "buffer_name", "tensor_constant_name", "fqn")  # looked up as texts
_TEXT = re.compile(r"[A-Za-z0-9_ ,.>-]{0,200}")  # einsum's equation is the longest of them
_TREES = ("in_spec", "out_spec")
_CHECKED = ("target", "as_string", "as_float", "as_floats")
_KINDS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_PLAIN_ARGUMENTS = {
    "as_none", "as_tensor", "as_tensors", "as_optional_tensor", "as_optional_tensors", "as_int",
    "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_scalar_type",
    "as_memory_format", "as_layout", "as_device",
}  # fmt: skip
_LARGEST, _TO_THE_END = 1 << 31, 2**63 - 1  # elements of a tensor; what a slice ends with
_SIZES = ("sizes", "strides")


def check_program(program: Any, what: str) -> None:
    """Raise PolicyError at what is refused; drop what is only for people."""
    try:
        graph = program["graph_module"]["graph"]
        if program.get("range_constraints") or _has(program, "expr_str"):
            _refuse(
                f"{what} has dynamic shapes, whose expressions would be evaluated: refused. Export "
                "it with fixed shapes, batch 1."
            )
        for node in graph["nodes"]:
            _check_node(node, what)
        program["guards_code"] = []
        program["graph_module"]["treespec_namedtuple_fields"] = {}
        if graph.get("custom_obj_values"):
            _refuse(f"{what} holds custom objects: refused. Export plain tensors.")
        for values in graph["tensor_values"].values():
            check_tensor_meta(values, what)
        _check_names(program, what)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as cause:
        raise PolicyError(f"{what}: not the form of an exported program: {cause!r}") from None


def check_tensor_meta(meta: Any, what: str) -> int:
    """Return the elements that a tensor's storage must have. PolicyError; KeyError, TypeError."""
    sizes, strides = ([x["as_int"] for x in meta[name]] for name in _SIZES)
    offset = meta["storage_offset"]["as_int"]
    every = (*sizes, *strides, offset)
    plain = all(type(x) is int and 0 <= x <= _LARGEST for x in every)
    if not plain or len(sizes) != len(strides) or math.prod(sizes) > _LARGEST:
        _refuse(f"{what}: a tensor of sizes {shown(sizes)}, strides {shown(strides)}: refused.")
    if meta["device"]["type"] != "cpu":
        _refuse(f"{what}: a tensor on {shown(meta['device'])}: export it on the CPU.")
    if 0 in sizes:
        return 0
    return int(offset + 1 + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)))


def _refuse(text: str) -> NoReturn:
    raise PolicyError(text)


def _check_node(node: dict[str, Any], what: str) -> None:
    target = node["target"]
    if not isinstance(target, str) or not is_allowed(target):
        _refuse(
            f"{what}: operation {shown(target)} is not on the list of those that are read: "
            "refused. Export under torch.no_grad(), or write it with others."
        )
    node["metadata"] = {}  # stack traces and Python names
    for item in node["inputs"]:
        ((kind, value),) = item["arg"].items()
        where = f"{what}: {target}, argument {shown(item['name'])}"
        if kind not in _PLAIN_ARGUMENTS:
            _refuse(f"{where}: {shown(kind)} is refused.")
        if kind == "as_device" and value["type"] != "cpu":
            _refuse(f"{where}: expected the CPU.")
        if kind == "as_string" and not _TEXT.fullmatch(value):
            _refuse(f"{where}: text {shown(value)} is refused.")
        if kind in ("as_int", "as_ints", "as_float", "as_floats"):
            numbers = value if isinstance(value, list) else [value]
            if not all(_is_sane(x) for x in numbers) or (
                kind == "as_ints" and math.prod(max(1, abs(x)) for x in numbers) > _LARGEST
            ):
                _refuse(f"{where}: {shown(value)} is refused: no network needs it.")


def _is_sane(value: Any) -> bool:
    """Say whether an argument is sane: infinity (a mask's) and the end of a slice are."""
    if isinstance(value, str):  # how JSON carries what it has no number for
        return value in ("Infinity", "-Infinity", "NaN")
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and (value == _TO_THE_END or isinstance(value, float) or abs(value) <= _LARGEST)


def _has(value: Any, name: str) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if name in item:
                return True
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return False


def _check_names(program: Any, what: str) -> None:
    """Every text at any depth: a plain word, a checked target or argument, or a tree of inputs."""
    waiting: list[tuple[str, Any]] = [("", program)]
    while waiting:
        key, item = waiting.pop()
        if isinstance(item, dict):
            check_words(list(item), what)
            for name, value in item.items():
                if name in _TREES and isinstance(value, str):
                    _check_tree(parse_json(value, f"{what}, {name}", PolicyError)[1], what)
                elif name not in _CHECKED:
                    waiting.append((name, value))
        elif isinstance(item, list):
            waiting.extend((key, value) for value in item)
        elif isinstance(item, str):
            form = _PATH if key in _PATHS else _VERSION if key == "torch_version" else _WORD
            _check_word(item, what, form)


def _check_word(word: str, what: str, form: re.Pattern[str]) -> None:
    parts = word.split(".")
    if not form.fullmatch(word) or any(x.startswith("__") or keyword.iskeyword(x) for x in parts):
        _refuse(
            f"{what}: the name {shown(word)} would stand in code that is run: refused. Names are "
            "letters, digits and underscores."
        )


def check_words(words: list[str], what: str) -> None:
    """Raise PolicyError unless all are names that may stand in code."""
    for word in words:
        _check_word(word, what, _WORD)


def check_paths(paths: list[str], what: str) -> None:
    """Raise PolicyError unless all are names of weights, which code looks up as texts."""
    for path in paths:
        _check_word(path, what, _PATH)


def _check_tree(tree: Any, what: str) -> None:
    """How inputs and outputs nest: other kinds than these import a module by its name."""
    kind, context = tree["type"], tree["context"]
    if kind not in _KINDS or "{" in str(context):
        _refuse(
            f"{what}: an input or output of type {shown(kind)} would be imported: refused. Take "
            "and give plain tensors."
        )
    if context not in (None, "null"):
        names = parse_json(context, what, PolicyError)
        if not isinstance(names, list):
            raise ValueError("context")
        check_words([str(name) for name in names], what)
    for child in tree["children_spec"]:
        _check_tree(child, what)
