"""Sets that are well-formed and wrong give no trace, what can be is noticed; healthy ones open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.errors import OfpError
from tests.fuzz.structure.changes import changes
from tests.fuzz.structure.kind import looked_at
from tests.fuzz.structure.prepared import LAYOUTS, opened, prepared

pytestmark = pytest.mark.filterwarnings("ignore")
_ALL = [name for names in LAYOUTS.values() for name in names]
_NOTICED = {
    "a number is NaN", "names are not as many", "tasks differ", "a video is cut",
    "stamps count in milliseconds", "intervals overlap", "an array is shorter",
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OFP_EDGE_CACHE", str(tmp_path / "cache"))
    yield


@pytest.mark.parametrize("name", _ALL)
def test_a_healthy_set_is_read_the_same_twice_and_nothing_in_it_is_refused(
    name: str, tmp_path: Path
) -> None:
    first, values = looked_at(prepared(name, tmp_path), tmp_path / "policy")
    assert first["refused"] is None
    tolerated = ("constant dimensions", "jumps its sign", "states no rate")
    assert [x for x in first["odd"] if not any(word in x for word in tolerated)] == []
    assert all(np.isfinite(x).all() for x in values.values() if x.dtype.kind == "f")


@pytest.mark.parametrize("name", _ALL)
def test_structural_changes_give_no_trace_and_those_that_can_be_are_noticed(
    name: str, tmp_path: Path
) -> None:
    whole, _ = looked_at(prepared(name, tmp_path), tmp_path / "policy")
    possible = changes(opened(tmp_path / name))
    for number, change in enumerate(sorted(_NOTICED & set(possible))):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        path = prepared(name, folder)
        editor = opened(path)
        how = changes(editor)[change](np.random.default_rng(number))
        editor.save()
        try:
            document, _ = looked_at(path, folder / "policy")
        except OfpError as cause:
            assert "\n" not in str(cause)
            continue
        assert set(document["odd"]) - set(whole["odd"]), f"{change}: {how}"
