"""A board's file: JSON in files/, one a board; every figure has its source.

    {"schema_version": 1, "name": "raspberry-pi-5", "title": ..., "target": "arm-cpu", ...,
     "notes": ..., "sources": {"clock_hz": ..., ...}}

The rest of the entries are the fields of the class that `target` stands for: cpu.py, orin.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ofp_edge.errors import OfpError
from ofp_edge.files import read_json
from ofp_edge.strict import read_as, shown

SCHEMA_VERSION = 1
FOLDER = Path(__file__).parent / "files"
JETSON_ORIN = "jetson-orin"
"""The target of boards whose GPU computes; every other target is for CPUs."""


@dataclass(frozen=True)
class BoardFile:
    """The entries every board has. name: that of its file. target: the compile target that fits it.
    bandwidth_gb_s: of the main memory. memory_bytes: the smallest sold. sources: by field name, one
    for each of `figures`.

    Raises OfpError where an entry is empty or not positive, or a figure has no source.
    """

    figures: ClassVar[frozenset[str]] = frozenset({"bandwidth_gb_s", "memory_bytes"})

    name: str
    title: str
    target: str
    bandwidth_gb_s: float
    memory_bytes: int
    notes: str
    sources: dict[str, str]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not value > 0:
                raise OfpError(f"{field.name}: expected more than 0, got {value}.")
            if value == "":
                raise OfpError(f"{field.name}: expected a text, got an empty one.")
        if missing := sorted(self.figures - set(self.sources)):
            raise OfpError(f"sources: {missing[0]} has none.")


B = TypeVar("B", bound=BoardFile)


def parse_board(kind: type[B], value: Any, where: str) -> B:
    """Parse and check one file's content. Raises OfpError naming the entry that is wrong."""
    try:
        return read_as(kind, unversioned(value, where), where, OfpError)
    except OfpError as cause:  # a board's own refusals do not know its file
        text = str(cause)
        raise OfpError(text if text.startswith(where) else f"{where}: {text}") from None


def unversioned(value: Any, where: str) -> dict[str, Any]:
    """Return a file's object without its schema version. OfpError where the version is not ours."""
    if not isinstance(value, dict):
        raise OfpError(f"{where}: expected an object, got {type(value).__name__}.")
    version = value.get("schema_version")
    if version != SCHEMA_VERSION:
        raise OfpError(
            f"{where}: schema version {shown(version)}, this ofp-edge reads {SCHEMA_VERSION}."
        )
    return {key: item for key, item in value.items() if key != "schema_version"}


def read_boards(kind: type[B], *, orin: bool) -> dict[str, B]:
    """Return the boards of one kind, by name: JETSON_ORIN's or all others. Raises OfpError."""
    found = {}
    for path in sorted(FOLDER.glob("*.json")):
        value = read_json(path)
        if orin != (isinstance(value, dict) and value.get("target") == JETSON_ORIN):
            continue
        board = parse_board(kind, value, str(path))
        if board.name != path.stem:
            raise OfpError(f"{path}: name is {board.name!r}, expected {path.stem!r}.")
        found[board.name] = board
    return found
