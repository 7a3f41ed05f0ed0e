"""[engine] of a rig: which engine computes, how precisely and on how many threads.

    [engine]
    name = "executorch"
    precision = "int8"
    threads = 1
    [engine.picked]              # how it was found, for people; `profile --pick` writes it

Without the table a bundle's own defaults hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from ofp_edge.errors import RigError
from ofp_edge.files import write_bytes
from ofp_edge.toml import Table, parse_toml

TABLE = "engine"


@dataclass(frozen=True)
class EngineEntry:
    """[engine]. picked: how it was found; `bundle` in it is the hash of the manifest measured."""

    name: str
    precision: str
    threads: int
    picked: dict[str, Any] = field(default_factory=dict)


def engine_entry(top: Table) -> EngineEntry | None:
    """Take [engine] out of a rig's top table; return None when there is none."""
    if TABLE not in top.values:
        return None
    table = top.sub(TABLE)
    entry = EngineEntry(
        table.take("name", str),
        table.take("precision", str),
        table.count("threads"),
        table.take("picked", dict, {}),
    )
    table.nothing_left()
    return entry


def set_engine(
    path: Path, entry: EngineEntry, rows: list[dict[str, Any]], facts: dict[str, Any]
) -> None:
    """Write [engine] and, as [engine.picked], the facts and rows that justify it, one row a line.

    Everything else in the file stays, comments too. Raises RigError, with the file as it was, when
    its order of tables can't be kept.
    """
    document = parse_toml(path, RigError)
    wanted = document.unwrap()
    values: dict[str, Any] = {
        "name": entry.name,
        "precision": entry.precision,
        "threads": entry.threads,
    }
    array = tomlkit.array()
    for row in rows:
        line = tomlkit.inline_table()
        line.update(row)
        array.append(line)
    picked = tomlkit.table()
    picked.update({**facts, "table": array.multiline(True)})
    if TABLE not in document:
        document[TABLE] = tomlkit.table()
    table: Any = document[TABLE]
    for key, value in values.items():
        table[key] = value
    table["picked"] = picked
    wanted[TABLE] = {**wanted.get(TABLE, {}), **values, "picked": {**facts, "table": rows}}
    text = tomlkit.dumps(document)
    if tomlkit.parse(text).unwrap() != wanted:
        raise RigError(
            f"{path}: this file's order of tables can't be kept. Write by hand: {values}"
        )
    write_bytes(path, text.encode())
