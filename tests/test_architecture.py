"""ARCHITECTURE.md is a map of the code as it is: small, with the import contracts' own table."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("import_table", ROOT / "scripts/import_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_import_table_is_the_contracts(table: ModuleType) -> None:
    expected = [*table.HEAD, *table.rows()]
    assert table.written() == expected, "python scripts/import_table.py --write"


def test_a_contract_holds_every_room_and_every_module_of_the_core(table: ModuleType) -> None:
    sources = {x for c in table.contracts() for x in c.get("source_modules", ())}
    named = {x.name for x in (ROOT / "ofp_edge").iterdir() if (x / "__init__.py").exists()}
    named |= {x.stem for x in (ROOT / "ofp_edge").glob("*.py")} - {"__init__", "__main__"}
    assert {f"ofp_edge.{x}" for x in named} - sources == {"ofp_edge.cli"}, "it may import anything"
    assert all("ignore_imports" not in c for c in table.contracts()), "no exceptions"


def test_of_runtime_targets_may_import_the_runners_alone(table: ModuleType) -> None:
    """The contract lists the other rooms one by one: a new one is missed here."""
    assert [x for x in table.allowed("targets") if "." in x] == ["runtime.runners"]


def test_it_is_a_map_of_at_most_8_kilobytes() -> None:
    assert len(TEXT.encode()) <= 8192


def test_every_file_that_it_names_is_there() -> None:
    named = set(re.findall(r"`([\w./-]+(?:\.(?:py|md|json|toml)|/))`", TEXT))
    named |= set(re.findall(r"\]\(([\w./-]+)\)", TEXT))
    places = (ROOT, ROOT / "ofp_edge", ROOT / "ofp_edge/runtime")
    gone = [x for x in sorted(named) if not any((place / x).exists() for place in places)]
    assert len(named) > 30 and gone == []
