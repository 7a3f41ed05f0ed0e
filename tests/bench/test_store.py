"""What a cell is named by, which code made it, and whose folder it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ofp_edge.bench import cells
from ofp_edge.bench.code import _meaning
from ofp_edge.bench.store import Store, open_store
from ofp_edge.errors import OfpError
from tests.bench.conftest import Edit

INPUTS = {"task": "a/b", "seed": 0}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with open_store(tmp_path / "work", "tiny", any_code=False) as opened:
        return opened


def test_a_cell_comes_back_until_its_inputs_change(store: Store) -> None:
    store.write("episodes", INPUTS, {"success": [True]})
    found = store.read("episodes", INPUTS)
    assert found is not None and found["success"] == [True]
    assert store.read("episodes", {**INPUTS, "seed": 1}) is None
    assert store.read("modes", INPUTS) is None


def test_a_cell_of_other_code_counts_as_missing_unless_any_is_asked_for(store: Store) -> None:
    store.write("episodes", INPUTS, {})
    later = replace(store, code={**store.code, "episodes": "other"})
    assert later.read("episodes", INPUTS) is None
    assert replace(later, any_code=True).read("episodes", INPUTS) is not None
    with pytest.raises(OfpError, match="code of ofp-edge changed"):
        later.write("episodes", INPUTS, {})


def test_comments_docstrings_and_layout_are_not_code(tmp_path: Path) -> None:
    def meaning(text: str) -> str:
        path = tmp_path / "m.py"
        path.write_text(text)
        return _meaning(path)

    plain = meaning('"""a"""\ndef f(x):\n    """b"""\n    return x + 1\n')
    assert plain == meaning('"""c"""\n# why\ndef f( x ):\n    """d"""\n\n    return (x + 1)\n')
    assert plain != meaning('"""a"""\ndef f(x):\n    """b"""\n    return x + 2\n')


def test_one_benchmark_at_a_time_and_only_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(OfpError, match=r"holds no bench\.json"):
        with open_store(tmp_path / "mine", "s", any_code=False):
            pass
    with open_store(tmp_path / "work", "s", any_code=False):
        with pytest.raises(OfpError, match="in use by another"):
            with open_store(tmp_path / "work", "s", any_code=False):
                pass
        with open_store(tmp_path / "work", "s", any_code=False, write=False):
            pass  # a look is free


def test_only_takes_a_name_its_first_parts_or_a_star(edited: Edit) -> None:
    suite = edited(a="seeds = [0] -> seeds = [0, 1]")
    task = suite.tasks[0].name

    def chosen(*only: str) -> list[str]:
        return [str(unit).removeprefix(f"{task}/") for unit in cells.units(suite, only)]

    assert chosen() == chosen(task) == ["ours+cold/0", "flow/0", "ours+cold/1", "flow/1"]
    assert chosen(f"{task}/flow") == chosen("*/flow/*") == ["flow/0", "flow/1"]
    assert chosen(f"{task}/cold/1", f"{task}/flow/0") == ["flow/0", "cold/1"]
    with pytest.raises(OfpError, match=f"nothing matches. A name is {task}/ours/0"):
        chosen("nothing")
