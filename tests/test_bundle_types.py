"""What a bundle says of its origin and its golden outputs is typed and bounded where it is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.bundle import GOLDEN, open_bundle
from ofp_edge.cli.inspect import inspect
from ofp_edge.cli.output import Output
from ofp_edge.errors import BundleError
from ofp_edge.runtime.infer.load import load_inference
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.sealed import seal

ACTION = {"name": "move", "unit": "m", "max": 1e-3, "mean": 1e-4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_small_bundle(tmp_path / "bundle", make_spec(), {})


def give(folder: Path, **provenance: Any) -> None:
    seal(folder, lambda value: value["provenance"].update(provenance))


def test_a_bundle_without_costs_and_graphs_is_shown(folder: Path) -> None:
    shown = inspect(Output(True), folder)
    assert shown["costs"] == {} and shown["artefacts"][0]["left_out"] == ()


def test_what_compile_writes_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    give(
        folder, recipe="int8", costs={"act": {"parameters": 10, "flops": 2_000_000}},
        agreement={"fp32": {"chunks": 4, "pairs": [{"engines": ["a", "b"], "actions": [ACTION]}]}},
        gate={"passed": False, "not_run": [], "says": {"error": "2 of 1"}},
        estimate={"board": "pi-5", "estimated": True, "threads": 4,
                  "floors": {"fp32": {"floor_ms": {"encode": 0.1, "act": 0.2, "chunk": 0.3},
                                      "layers": []}},
                  "memory": {"needed_bytes": {"onnxruntime": 1 << 26}, "available_bytes": 1 << 32}},
    )  # fmt: skip
    inspect(Output(False), folder)
    said = capsys.readouterr().out
    for line in ("act          10 parameters, 2.00 MFLOP", "at most 1 mm (move)", "FAILED",
                 "error            2 of 1", "at least 0.300 ms on 4 threads"):  # fmt: skip
        assert line in said


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("costs", {"act": {"parameters": 1}}),
        ("costs", [1]),
        ("graphs", {"act.fp32.onnx": {"delegated_share": "all"}}),
        ("graphs", {"act.fp32.onnx": {"left_out": "all"}}),
        ("agreement", {"fp32": {"pairs": [{"actions": [{**ACTION, "max": "1"}]}]}}),
        ("agreement", {"fp32": None}),
        ("gate", {"passed": True}),
        ("gate", {"passed": True, "says": {"x": 1}}),
        ("estimate", {"board": "pi-5"}),
        ("estimate", {"board": "b", "threads": 1, "floors": {}, "memory": {"needed_bytes": 3}}),
        ("machine", ["x86_64"]),
        ("task", {}),
        ("mixture", 5),
        ("mixture", [{"sha256": "0"}]),
        ("mixture", [{"sha256": 0, "held_out": [1]}]),
        ("mixture", [{"sha256": "0", "held_out": ["1"]}]),
    ],
)
def test_an_origin_of_other_types_is_one_line_at_the_border(
    folder: Path, entry: str, value: Any
) -> None:
    give(folder, **{entry: value})
    with pytest.raises(BundleError, match=rf"manifest\.json: provenance\.{entry}") as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value)


def test_texts_of_a_bundle_steer_no_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give(folder, method="[/bold]\x1b[2J", preset="[red]x")
    inspect(Output(False), folder)
    said = capsys.readouterr().out
    assert "\x1b" not in said and "[/bold]\ufffd[2J" in said and "[red]x" in said


def test_engines_may_share_a_file_that_is_listed_alike(folder: Path) -> None:
    def share(value: Any) -> None:
        value["artefacts"] += [{**x, "engine": "tensorrt"} for x in value["artefacts"]]

    seal(folder, share)
    assert open_bundle(folder).engines() == [("onnxruntime", "fp32"), ("tensorrt", "fp32")]

    def differ(value: Any) -> None:
        value["artefacts"][-1]["sha256"] = "0" * 64

    seal(folder, differ)
    with pytest.raises(BundleError, match="is listed twice, differently"):
        open_bundle(folder)


def golden(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with np.load(folder / GOLDEN) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    (folder / GOLDEN).write_bytes(buffer.getvalue())
    seal(folder)


def test_a_golden_file_larger_than_its_functions_is_not_unpacked(folder: Path) -> None:
    golden(folder, lambda arrays: arrays.update(more=np.zeros(20 << 20, np.uint8)))
    with pytest.raises(BundleError, match=r"golden\.npz: 209\d+ bytes unpacked, expected at most"):
        open_bundle(folder).golden()


@pytest.mark.parametrize("name", ["input/encode/state", "input/act/z", "output/act/fp32/chunk"])
def test_golden_arrays_of_another_size_than_the_spec_are_one_line(folder: Path, name: str) -> None:
    golden(folder, lambda arrays: arrays.update({name: arrays[name][:, :-1]}))
    bundle = open_bundle(folder)
    with pytest.raises(BundleError, match=rf"golden .*{name.split('/')[-1]}"):
        load_inference(bundle, *bundle.choose(None, None), threads=1, seed=0)


def test_a_graph_that_fails_when_it_runs_is_one_line(folder: Path) -> None:
    import onnx

    model = onnx.load_from_string((folder / "encode.fp32.onnx").read_bytes())
    name = model.graph.node[-1].input[0]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([3, 3]), "shape"))
    model.graph.node[-1].input[0] = "odd"
    model.graph.node.insert(
        len(model.graph.node) - 1, onnx.helper.make_node("Reshape", [name, "shape"], ["odd"])
    )
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (folder / "encode.fp32.onnx").write_bytes(model.SerializeToString())
    seal(folder)
    bundle = open_bundle(folder)
    with pytest.raises(BundleError) as caught:
        load_inference(bundle, *bundle.choose(None, None), threads=1, seed=0)
    assert "\n" not in str(caught.value)


def test_a_manifest_is_no_manifest_without_its_hashes(folder: Path) -> None:
    def strip(value: Any) -> None:
        for entry in value["files"]:
            del entry["sha256"]

    seal(folder, strip)
    with pytest.raises(BundleError, match=r"files\[0\]\.sha256"):
        inspect(Output(True), folder)
