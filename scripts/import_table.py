#!/usr/bin/env python3
"""ARCHITECTURE.md's table of who may import whom, made from the import contracts in pyproject.toml.

Usage: python scripts/import_table.py [--write]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tomlkit

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- imports -->", "<!-- /imports -->"
HEAD = ("| room | may import |", "|---|---|")
CORE = "core"


def contracts() -> list[dict[str, Any]]:
    """As import-linter reads them."""
    project: Any = tomlkit.parse((ROOT / "pyproject.toml").read_text()).unwrap()
    found: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return found


def rooms() -> list[str]:
    """Every package of ofp_edge that is no part of the core, by name."""
    core = next(x for x in contracts() if x["name"].startswith(CORE))["source_modules"]
    packages = (x.parent.name for x in (ROOT / "ofp_edge").glob("*/__init__.py"))
    return sorted(x for x in packages if f"ofp_edge.{x}" not in core)


def forbidden(room: str) -> set[str]:
    """What no module of a room may import, as the contracts name it."""
    module, found = f"ofp_edge.{room}", set()
    for contract in contracts():
        if contract["type"] == "forbidden" and module in contract["source_modules"]:
            found |= set(contract["forbidden_modules"])
        if contract["type"] == "independence" and module in contract["modules"]:
            found |= set(contract["modules"]) - {module}
    return {x.removeprefix("ofp_edge.") for x in found}


def allowed(room: str) -> list[str]:
    """The rooms, and single folders of rooms, that a room may import."""
    not_allowed, found = forbidden(room), []
    for other in rooms():
        parts = {x for x in not_allowed if x.startswith(f"{other}.")}
        if other == room or other in not_allowed:
            continue
        if not parts:
            found.append(other)
            continue
        inside = (ROOT / "ofp_edge" / other).iterdir()
        names = {x.stem for x in inside if x.suffix == ".py" or (x / "__init__.py").exists()}
        left = names - {"__init__"} - {x.partition(".")[2] for x in parts}
        found += [f"{other}.{x}" for x in sorted(left)]
    return [CORE, *found]


def rows() -> list[str]:
    """The table's rows: the core, then every room."""
    every = [f"| {room} | {', '.join(allowed(room))} |" for room in rooms()]
    return [f"| {CORE} | nothing of ours |", *every]


def written() -> list[str]:
    """The lines that the document has between the two marks."""
    return DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()


def main() -> None:
    """See the module."""
    table = "\n".join((*HEAD, *rows()))
    if "--write" not in sys.argv:
        print(table)
        return
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
