"""Check an ExecuTorch program before it is loaded: whatever its runtime takes on trust.

The runtime verifies a program's own FlatBuffer (`InternalConsistency`), not what lies inside: the
graphs that XNNPACK is given (xnnpack_file.py), which value a call reads, how a tensor fits into the
memory that was planned for it. Damage there ends the process or writes over its memory. This is no
proof that a program does no harm: a bundle is trusted code.
"""

from __future__ import annotations

import math

from ofp_edge.errors import BundleError
from ofp_edge.runtime.runners.flatbuffer import Reader, Row
from ofp_edge.runtime.runners.xnnpack_file import check_graph

_SCHEMA = {
    "Program": (
        "version u4", "plans [Plan]", "constants [Skipped]", "inline [Inline]",
        "segments [Segment]", "constant_segment Skipped", "mutable [Skipped]", "named [Named]",
    ),
    "Plan": (
        "name s", "container Skipped", "values [Value]", "inputs [i4]", "outputs [i4]",
        "chains [Chain]", "operators [Skipped]", "delegates [Delegate]", "memory [i8]",
    ),
    "Value": ("value Union:-,-,-,-,Tensor,-,Indices8,-,-,Indices,Indices",),
    "Tensor": (
        "type i1", "offset i4", "sizes [i4]", "order [u1]", "grad u1", "constant u4",
        "place Place",
    ),
    "Place": ("memory u4", "low u4", "high u4"),
    "Indices": ("items [i4]",),
    "Indices8": ("items [i8]",),
    "Chain": ("inputs [i4]", "outputs [i4]", "instructions [Instruction]"),
    "Instruction": ("call Union:Kernel,Call,-,-,-",),
    "Kernel": ("operator i4", "args [i4]"),
    "Call": ("delegate i4", "args [i4]"),
    "Delegate": ("id s", "data Reference"),
    "Reference": ("location i1", "index u4"),
    "Inline": ("data [u1]",),
    "Segment": ("offset u8", "size u8"),
    "Named": ("key s", "segment u4"),
    "Skipped": (),
}  # fmt: skip
_ITEM_BYTES = {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 7: 8, 11: 1}  # by ScalarType
_HEADER = b"eh00"
_MOST_AXES = 16


def require_consistent(program: bytes, what: str) -> None:
    """Raise BundleError when a program contradicts itself, or leads out of its bytes."""
    try:
        root = Reader(program, _SCHEMA).root("Program")
        segments = _segments(program, root)
        named = {x["key"]: _at(segments, x["segment"], "segment") for x in root["named"]}
        for plan in root["plans"]:
            _check_plan(plan)
            for number, delegate in enumerate(plan["delegates"]):
                blob = _blob(delegate, root, segments)
                calls = _calls(plan, number)
                if delegate["id"] != "XnnpackBackend":
                    raise ValueError(f"a delegate {delegate['id'][:40]!r}, expected XNNPACK")
                check_graph(blob, {key: len(value) for key, value in named.items()}, calls)
    except ValueError as cause:
        raise BundleError(f"{what} is damaged: {cause}. Compile the policy again.") from None


def _segments(program: bytes, root: Row) -> list[memoryview]:
    """What lies behind the FlatBuffer; where it begins stands in the extended header."""
    base = int.from_bytes(program[24:32], "little") if program[8:12] == _HEADER else 0
    found = []
    for item in root["segments"]:
        start, stop = base + item["offset"], base + item["offset"] + item["size"]
        if stop > len(program):
            raise ValueError("a segment is longer than the file")
        found.append(memoryview(program)[start:stop])
    return found


def _at(items: list[memoryview], index: int, what: str) -> memoryview:
    if not 0 <= index < len(items):
        raise ValueError(f"no {what} {index}")
    return items[index]


def _blob(delegate: Row, root: Row, segments: list[memoryview]) -> memoryview:
    place = delegate["data"]
    if place is None:
        raise ValueError("a delegate without data")
    if place["location"] == 0:
        return _at([x["data"] for x in root["inline"]], place["index"], "inline data")
    return _at(segments, place["index"], "segment")


def _check_plan(plan: Row) -> None:
    values, memory = plan["values"], plan["memory"]
    for value in values:
        if value["value_kind"] == "Tensor":
            _check_tensor(value["value"], memory)
        elif value["value_kind"] in ("Indices", "Indices8"):
            # Of whole numbers, held as indices of values, and of tensors; -1 is an absent one.
            _require_indices(value["value"]["items"], len(values), least=-1)
    _require_indices(plan["inputs"], len(values))
    _require_indices(plan["outputs"], len(values))
    outside = (*plan["inputs"], *plan["outputs"])
    if len(set(outside)) != len(outside) or any(
        values[x]["value_kind"] != "Tensor" or values[x]["value"]["constant"] for x in outside
    ):
        raise ValueError("an input or output that is none")
    nowhere = {
        number
        for number, x in enumerate(values)
        if x["value_kind"] == "Tensor"
        and number not in outside
        and not x["value"]["constant"]
        and x["value"]["place"] is None
    }
    for chain in plan["chains"]:
        for step in chain["instructions"]:
            if step["call"] is None:
                raise ValueError("an instruction that no policy has")
            _require_indices(step["call"]["args"], len(values))
            if nowhere & set(step["call"]["args"]):
                raise ValueError("a tensor without memory")


def _check_tensor(tensor: Row, memory: tuple[int, ...]) -> None:
    sizes = tensor["sizes"]
    if tensor["type"] not in _ITEM_BYTES or len(sizes) > _MOST_AXES:
        raise ValueError("a tensor of a type or shape that no policy has")
    if any(x < 0 for x in sizes) or sorted(tensor["order"]) != list(range(len(sizes))):
        raise ValueError("a tensor whose axes are no axes")
    place = tensor["place"]
    if place is None:
        return
    if not 0 < place["memory"] < len(memory):
        raise ValueError("a tensor in memory that is not planned")
    end = place["low"] + (place["high"] << 32) + math.prod(sizes) * _ITEM_BYTES[tensor["type"]]
    if end > memory[place["memory"]]:
        raise ValueError("a tensor is larger than the memory planned for it")


def _require_indices(found: tuple[int, ...], count: int, *, least: int = 0) -> None:
    if any(not least <= x < count for x in found):
        raise ValueError("an index without a value")


def _calls(plan: Row, number: int) -> list[list[tuple[int, ...] | None]]:
    """The shapes of a delegate's arguments, at each of its calls; None: no tensor."""
    found = []
    for chain in plan["chains"]:
        for step in chain["instructions"]:
            if step["call_kind"] == "Call" and step["call"]["delegate"] == number:
                rows = [plan["values"][x] for x in step["call"]["args"]]
                found.append(
                    [x["value"]["sizes"] if x["value_kind"] == "Tensor" else None for x in rows]
                )
    return found
