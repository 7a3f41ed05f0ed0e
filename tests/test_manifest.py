"""A manifest whose hashes agree, written by anyone, is bounded and means one thing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ofp_edge import bundle as opening
from ofp_edge.bundle import open_bundle
from ofp_edge.errors import BundleError
from ofp_edge.functions import prefix_of
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.sealed import seal

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("made") / "bundle", make_spec(), {})


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def refusal(folder: Path, change: Change) -> str:
    seal(folder, change)
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    return str(caught.value)


def act(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value["functions"][-1]
    return found


def test_a_file_that_engines_share_is_hashed_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def share(value: Any) -> None:
        given = value["artefacts"]
        value["artefacts"] += [{**x, "engine": f"e{n}"} for n in range(20) for x in given]

    hashed: list[str] = []
    own = opening.sha256_file

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return own(path)

    seal(folder, share)
    monkeypatch.setattr(opening, "sha256_file", counted)
    assert len(open_bundle(folder).engines()) == 21
    assert sorted(hashed) == ["act.fp32.onnx", "encode.fp32.onnx", "golden.npz"]


@pytest.mark.parametrize("name", ["../up", "a/b", "", "a.b", "-x", "x" * 65, "a\nb"])
@pytest.mark.parametrize("what", ["engine", "precision"])
def test_names_that_become_keys_and_files_are_plain(what: str, name: str, folder: Path) -> None:
    def change(value: Any) -> None:
        for item in value["artefacts"]:
            item[what] = value["default"][what] = name

    assert f"{what}: " in refusal(folder, change)


@pytest.mark.parametrize("name", ["../up", "en.code"])
def test_a_function_has_a_plain_name(name: str, folder: Path) -> None:
    def change(value: Any) -> None:
        value["functions"].insert(1, {"name": name, "inputs": [], "outputs": []})

    assert "function: " in refusal(folder, change)


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 201])
def test_a_tensor_has_a_name_that_can_be_printed(name: str, folder: Path) -> None:
    def change(value: Any) -> None:
        value["functions"][0]["outputs"][0]["name"] = name
        act(value)["inputs"][0]["source"] = f"encode.{name}"

    assert "tensor: " in refusal(folder, change)


def test_a_field_may_have_spaces_in_its_name(folder: Path) -> None:
    def change(value: Any) -> None:
        value["interface"]["observations"][0]["name"] = "joints of the arm"
        value["functions"][0]["inputs"][0]["name"] = "joints of the arm"

    seal(folder, change)
    open_bundle(folder)


def test_a_function_has_each_of_a_bounded_number_of_tensors_once(folder: Path) -> None:
    def twice(value: Any) -> None:
        value["functions"][0]["outputs"] *= 2

    def many(value: Any) -> None:
        one = value["functions"][0]["outputs"][0]
        value["functions"][0]["outputs"] = [{**one, "name": f"f{n}"} for n in range(600)]

    assert "encode.outputs: expected at most 512, each name once" in refusal(folder, twice)
    assert "encode.outputs: expected at most 512, each name once" in refusal(folder, many)


def test_the_files_of_a_bundle_are_bounded(folder: Path) -> None:
    def change(value: Any) -> None:
        value["files"] *= 5000

    assert "at most 4096 artefacts and files" in refusal(folder, change)


def test_an_artefact_is_listed_once(folder: Path) -> None:
    def change(value: Any) -> None:
        value["artefacts"].append({**value["artefacts"][0], "tolerance": {"feature": [1e9]}})

    assert "artefacts[2]: encode onnxruntime fp32 is listed twice" in refusal(folder, change)


@pytest.mark.parametrize(
    ("shape", "says"),
    [([1] * 9, "on 1 to 8 axes"), ([1] * 5000, "would be tuple of 5000"),
     ([], "on 1 to 8 axes"), ([2, 8], "expected a first axis of 1")],
)  # fmt: skip
def test_a_tensor_has_few_axes_and_one_row(shape: list[int], says: str, folder: Path) -> None:
    def change(value: Any) -> None:
        value["functions"][0]["outputs"].append(
            {"name": "more", "shape": shape, "dtype": "float32", "role": "feature",
             "source": None, "resident": False}
        )  # fmt: skip

    assert says in refusal(folder, change)


def test_an_output_has_no_source_and_only_act_gives_a_chunk(folder: Path) -> None:
    def sourced(value: Any) -> None:
        value["functions"][0]["outputs"][0]["source"] = "encode.feature"

    def chunk(value: Any) -> None:
        value["functions"][0]["outputs"][0]["source"] = None
        value["functions"][0]["outputs"].append(
            {**value["functions"][0]["outputs"][0], "name": "chunk"}
        )

    assert "encode.outputs: expected no source" in refusal(folder, sourced)
    assert "no 'chunk' but act's" in refusal(folder, chunk)


def test_only_the_tensor_that_differs_is_shown(folder: Path) -> None:
    def change(value: Any) -> None:
        act(value)["outputs"][1]["resident"] = True

    says = refusal(folder, change)
    assert "outputs of act[1]: expected chunk_normalised 'chunk_normalised'" in says
    assert "resident" in says and "got none" not in says


@pytest.mark.parametrize(
    ("row", "entry", "new", "says"),
    [
        (0, "t", -0.1, r"time_rows[0]: expected times of 0 to 1, got -0.1 and 1"),
        (1, "r", 1.5, r"time_rows[1]: expected times of 0 to 1"),
        (0, "noise", -1.0, "time_rows[0]: expected numbers of float32"),
        (2, "noise", 1e39, "time_rows[2]: expected numbers of float32"),
        (1, "row", [1e39, 0, 0, 0, 0], "time_rows[1]: expected numbers of float32"),
        (1, "name", "cold", "time_rows: expected each name once, or 'ladder' alone"),
        (1, "name", "ladder", "time_rows: expected each name once, or 'ladder' alone"),
        (2, "name", "lukewarm", "a time row 'lukewarm': install a newer ofp-edge"),
    ],
)
def test_time_rows_are_times_of_known_names(
    row: int, entry: str, new: Any, says: str, folder: Path
) -> None:
    assert says in refusal(folder, lambda value: value["time_rows"][row].update({entry: new}))


def test_a_ladder_has_as_many_rows_as_it_walks(folder: Path) -> None:
    def change(value: Any) -> None:
        for row in value["time_rows"]:
            row["name"] = "ladder"

    seal(folder, change)
    assert len(open_bundle(folder).manifest.time_rows) == 3


def told(value: dict[str, Any]) -> None:
    """Let `act` be told a committed prefix, as the manifest of a policy trained with one says."""
    spec = make_spec()
    roles = [(x.role, x.size) for x in prefix_of(spec)]
    act(value)["inputs"] += [
        {"name": role, "shape": [1, size], "dtype": "float32", "role": role, "source": None,
         "resident": False}
        for role, size in roles
    ]  # fmt: skip
    size = spec.action_dim
    value["committed"] = {"steps": 1, "scale": [1.0] * size, "offset": [0.0] * size}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value.pop("committed"), "expected none, got committed 'committed'"),
        (lambda value: act(value)["inputs"].pop(), "expected free 'free'"),
        (lambda value: act(value)["inputs"].reverse(), "inputs of act"),
        (lambda value: value["committed"].update(steps=0), r"steps: expected 1\.\."),
        (lambda value: value["committed"].update(steps=10**6), r"steps: expected 1\.\."),
        (lambda value: value["committed"].update(scale=[]), "scale: expected"),
        (lambda value: value["committed"]["offset"].append(0.0), "offset: expected"),
        (lambda value: value["committed"]["scale"].__setitem__(0, 0.0), "expected no 0"),
        (lambda value: value["committed"]["offset"].__setitem__(0, 1e300), "offset: expected"),
    ],
)
def test_what_is_committed_is_said_once_and_in_a_scale(
    change: Change, words: str, folder: Path
) -> None:
    seal(folder, told)
    assert re.search(words, refusal(folder, change))


def test_a_bundle_that_is_told_a_prefix_opens(folder: Path) -> None:
    seal(folder, told)
    committed = open_bundle(folder).manifest.committed
    assert committed is not None and committed.steps == 1


def test_one_that_is_not_has_no_entry_of_it(folder: Path) -> None:
    assert "committed" not in json.loads((folder / "manifest.json").read_text())
    assert open_bundle(folder).manifest.committed is None


def bounds(name: str = "state", low: Any = None, high: Any = None) -> Change:
    ends = {"low": low or [-1.0] * 4, "high": high or [1.0] * 4}
    return lambda value: value.update(state_bounds={name: ends})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (bounds("points"), "expected a state of"),
        (bounds("\x1b[2J"), "expected a state of"),
        (bounds(low=[0.0] * 3), "low: expected 4 numbers"),
        (bounds(high=[1.0] * 5), "high: expected 4 numbers"),
        (bounds(high=[1.0, 1.0, 1.0, 1e300]), "high: expected 4 numbers of float32"),
        (bounds(high=[1.0, 1.0, -1.0, 1.0]), "expected low below high"),
        (bounds(low=["0", 0.0, 0.0, 0.0]), "state_bounds"),
        (lambda value: value.update(state_bounds=[1]), "state_bounds"),
    ],
)
def test_where_a_state_is_cut_off_is_a_range_of_each_of_its_numbers(
    change: Change, words: str, folder: Path
) -> None:
    assert re.search(words, refusal(folder, change))


def test_a_bundle_says_where_a_state_is_cut_off_or_has_no_entry_of_it(folder: Path) -> None:
    assert "state_bounds" not in json.loads((folder / "manifest.json").read_text())
    assert open_bundle(folder).manifest.state_bounds == {}
    seal(folder, bounds())
    manifest = open_bundle(folder).manifest
    assert manifest.state_bounds["state"].high == (1.0,) * 4
    assert manifest.to_json()["state_bounds"] == {"state": {"low": [-1.0] * 4, "high": [1.0] * 4}}
