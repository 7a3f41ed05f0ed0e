"""Boards as data: one JSON file each in files/, every figure with its source. Needs no torch.

Peaks are what the silicon could do, not what a policy reaches: a floor for latency, an estimate.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.files import read_json

SCHEMA_VERSION = 1
_FOLDER = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Board:
    """One board.

    target: the compile target that fits it. cores: those worth computing on; clock_hz: theirs,
    cpus: their numbers. threads: compute threads that a policy should take at most, one core left
    for the loop. fp32_gflops, int8_gops: dense peaks over `cores`. bandwidth_gb_s: main memory.
    cache_bytes: what the cores' caches hold together. memory_bytes: the smallest sold. glibc: of
    its usual system, the newest that wheels may ask for. wheels: by Python version, the engines'
    and the camera's distributions with their versions. sources: by field name.
    """

    name: str
    title: str
    target: str
    cpu: str
    machine: str
    cores: int
    clock_hz: int
    threads: int
    cpus: tuple[int, ...]
    fp32_gflops: float
    int8_gops: float
    bandwidth_gb_s: float
    cache_bytes: int
    memory_bytes: int
    glibc: str
    wheels: dict[str, dict[str, str]]
    notes: str
    sources: dict[str, str]

    @property
    def python(self) -> tuple[str, ...]:
        """Python versions for which wheels of the engines exist."""
        return tuple(self.wheels)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "cpus": list(self.cpus), "python": list(self.python)}


@cache
def boards() -> dict[str, Board]:
    """Every board by name. Raises OfpError when a board file is malformed."""
    found = {}
    for path in sorted(_FOLDER.glob("*.json")):
        board = parse_board(read_json(path), str(path))
        if board.name != path.stem:
            raise OfpError(f"{path}: name is {board.name!r}, expected {path.stem!r}.")
        found[board.name] = board
    return found


def board(name: str) -> Board:
    """A board by name, or UnknownName listing them."""
    if name not in boards():
        raise UnknownName("board", name, boards())
    return boards()[name]


def parse_board(value: Any, where: str) -> Board:
    """One board file's content, checked. OfpError names the entry that is wrong."""
    if not isinstance(value, dict):
        raise OfpError(f"{where}: expected an object.")
    if value.get("schema_version") != SCHEMA_VERSION:
        version = value.get("schema_version")
        raise OfpError(f"{where}: schema version {version}, this ofp-edge reads {SCHEMA_VERSION}.")
    known = {field.name for field in fields(Board)}
    if got := set(value) - {"schema_version"} ^ known:
        raise OfpError(f"{where}: missing or unknown entry {sorted(got)[0]!r}.")
    values = {key: value[key] for key in known}
    for field in fields(Board):
        item, kind = values[field.name], field.type
        good = {
            "str": isinstance(item, str) and item != "",
            "int": isinstance(item, int) and not isinstance(item, bool) and item > 0,
            "float": isinstance(item, (int, float)) and not isinstance(item, bool) and item > 0,
            "tuple[int, ...]": isinstance(item, list)
            and all(isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in item),
            "dict[str, str]": _texts(item),
            "dict[str, dict[str, str]]": isinstance(item, dict) and all(map(_texts, item.values())),
        }[str(kind)]
        if not good:
            raise OfpError(f"{where}: {field.name}: unexpected {item!r}, expected {kind}.")
    if values["threads"] > values["cores"]:
        raise OfpError(f"{where}: threads: {values['threads']} on {values['cores']} cores.")
    if len(set(values["cpus"])) != values["cores"]:
        raise OfpError(f"{where}: cpus: {values['cpus']} for {values['cores']} cores.")
    figures = {
        "clock_hz", "fp32_gflops", "int8_gops", "bandwidth_gb_s", "cache_bytes", "memory_bytes",
        "glibc", "wheels",
    }  # fmt: skip
    if missing := sorted(figures - set(values["sources"])):
        raise OfpError(f"{where}: sources: {missing[0]} has none.")
    return Board(**{**values, "cpus": tuple(values["cpus"])})


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(x, str) for x in value.values())


def this_machine() -> str:
    """Architecture of the running machine, as `machine` names it: "x86_64", "aarch64"."""
    return platform.machine()
