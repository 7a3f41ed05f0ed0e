"""JSON from outside: what does not fit is named by its place, and nothing deep or large gets in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from ofp_edge.errors import BundleError, OfpError, SpecMismatch
from ofp_edge.strict import DEEPEST, parse_json, read_as, read_json_file


@dataclass(frozen=True)
class Part:
    name: str
    size: int
    row: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0:
            raise OfpError("a size below 0.")


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    rows: tuple[tuple[str, float], ...]
    kind: Literal["a", "b"]
    limits: dict[str, list[float]]
    flag: bool
    first: Part | None = None
    free: dict[str, Any] = field(default_factory=dict)


def value(**changes: Any) -> dict[str, Any]:
    return {
        "parts": [{"name": "x", "size": 3, "row": [1, 2.5]}], "rows": [["cold", 1]], "kind": "a",
        "limits": {"q": [1.0]}, "flag": True, **changes,
    }  # fmt: skip


def test_a_fitting_value_becomes_the_dataclass() -> None:
    got = read_as(Whole, value(free={"x": [None]}), "f.json", BundleError)
    assert got == Whole((Part("x", 3, (1, 2.5)),), (("cold", 1),), "a", {"q": [1.0]}, True, None,
                        {"x": [None]})  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": [{"name": "x", "size": "y"}]},
         "parts[0].size: expected a whole number, got 'y' (a str, no int)."),
        ({"parts": [{"name": "x", "size": 2.5}]},
         "parts[0].size: expected a whole number, got 2.5 (a float, no int)."),
        ({"parts": [{"name": "x", "size": True}]}, "parts[0].size: expected a whole number"),
        ({"parts": [{"name": "x", "size": 10**30}]}, "parts[0].size: expected a whole number"),
        ({"parts": [{"name": "x"}]}, "parts[0].size: expected an entry, got none"),
        ({"parts": [{"name": "x", "size": 1, "b": 1}]}, "parts[0].b: expected no such entry"),
        ({"parts": [{"name": "\ud800", "size": 1}]},
         "parts[0].name: expected a text, got '\\ud800'"),
        ({"parts": [{"name": "x", "size": 1, "row": [1, None]}]},
         "parts[0].row: expected a list of numbers, got None at [1]."),
        ({"parts": [{"name": "x", "size": 1, "row": [10**400]}]}, "parts[0].row"),
        ({"parts": [{"name": "x", "size": -1}]}, "parts[0]: a size below 0."),
        ({"parts": [7]}, "parts[0]: expected an object, got int."),
        ({"parts": {}}, "parts: expected a list of entries, got {}."),
        ({"rows": [["cold"]]}, "rows[0]: expected a list of 2, got ['cold']."),
        ({"rows": [[1, 2]]}, "rows[0][0]: expected a text, got 1"),
        ({"kind": "c"}, "kind: expected one of a, b, got 'c'."),
        ({"kind": ["a"]}, "kind: expected one of a, b"),
        ({"limits": [1]}, "limits: expected an object, got list."),
        ({"limits": {"q": 1}}, "limits.q: expected a list of numbers, got 1."),
        ({"flag": 1}, "flag: expected true or false, got 1"),
        ({"first": 3}, "first: expected an object, got int."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_as(Whole, value(**changes), "f.json", BundleError)
    line = str(caught.value)
    assert line.startswith(f"f.json: {said}") and "\n" not in line
    line.encode()


def test_a_mismatch_takes_its_parts() -> None:
    with pytest.raises(SpecMismatch) as caught:
        read_as(Part, {"name": "x", "size": "y"}, "spec", SpecMismatch)
    assert caught.value.what == "spec: size" and caught.value.expected == "a whole number"


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(BundleError) as caught:
        read_as(Part, {"name": "x", "size": "y" * 10_000}, "f.json", BundleError)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize("depth", [DEEPEST, 2000, 1_000_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_deep_json_is_one_line(depth: int, left: str, right: str) -> None:
    inner = "[]" if left == "[" else "{}"
    shallow = left * (DEEPEST - 2) + inner + right * (DEEPEST - 2)
    parse_json(shallow, "f.json", BundleError)
    with pytest.raises(BundleError, match="nested deeper than 48"):
        parse_json(left * depth + inner + right * depth, "f.json", BundleError)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1,]", "NaN", '{"a": -Infinity}', "1" * 5000, '{"a": [1e999]}', "-1e400", "\ufeff1"],
)
def test_what_is_no_json_is_one_line(text: str) -> None:
    with pytest.raises(BundleError, match="f.json is not valid JSON"):
        parse_json(text, "f.json", BundleError)
    with pytest.raises(BundleError, match="f.json is not valid JSON"):
        parse_json(b"\xff\xfe" + text.encode(), "f.json", BundleError)


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "f.json").open("wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(BundleError, match=r"8\.6 GB, expected at most 16\.8 MB"):
        read_json_file(tmp_path / "f.json", BundleError)
