"""Target jetson-orin on a workstation: what the bundle holds, and graphs that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ofp_edge.bundle import open_bundle
from ofp_edge.errors import OfpError, ParityError
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.targets import compile as compiling
from ofp_edge.targets.compile import Compiled, compile_policy
from ofp_edge.targets.tensorrt_graph import check_graph, operator_table
from tests.targets.conftest import Built


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("orin")


@pytest.fixture(scope="module")
def compiled(built: Built, root: Path) -> Compiled:
    return compile_policy(built.quantised, "jetson-orin", root / "b", board_name="orin-nano-super")


def test_one_graph_a_precision_serves_tensorrt_and_onnx_runtime(
    compiled: Compiled, root: Path
) -> None:
    bundle = open_bundle(root / "b")
    pairs = [(e, p) for e in ("tensorrt", "onnxruntime") for p in ("fp32", "fp16", "int8")]
    assert bundle.engines() == pairs and bundle.manifest.board == "orin-nano-super"
    default = bundle.manifest.default
    assert (default.engine, default.precision) == ("tensorrt", "int8")
    for function in ("encode", "act"):
        for precision in ("fp32", "fp16", "int8"):
            one, other = (bundle.artefact(function, e, precision) for e, _ in (pairs[0], pairs[3]))
            assert (one.file, one.sha256) == (other.file, other.sha256)
            assert one.tolerance == other.tolerance and one.requires == {"tensorrt": ">=10.3"}


def test_half_precision_is_typed_so_in_the_graph(compiled: Compiled, root: Path) -> None:
    model = onnx.load(root / "b/act.fp16.onnx")
    assert model.opset_import[0].version <= 20
    kinds = {x.data_type for x in model.graph.initializer if x.dims}
    assert TensorProto.FLOAT16 in kinds and TensorProto.FLOAT not in kinds
    assert {x.type.tensor_type.elem_type for x in model.graph.input} == {TensorProto.FLOAT}


def test_every_operation_is_in_the_table_and_what_stays_higher_is_listed(
    compiled: Compiled, root: Path
) -> None:
    for path in sorted((root / "b").glob("*.onnx")):
        precision = path.name.split(".")[1]
        check_graph(path.read_bytes(), precision, path.name)
    higher = compiled.manifest.provenance["tensorrt"]["higher_precision"]
    assert higher["act.fp32.onnx"] == higher["act.fp16.onnx"] == higher["encode.int8.onnx"] == []
    assert len(higher["act.int8.onnx"]) == 2 and "(fp32)" in higher["act.int8.onnx"][0]


def test_the_bundle_runs_on_a_workstation_in_every_precision(
    compiled: Compiled, root: Path
) -> None:
    for precision in ("fp32", "fp16", "int8"):
        load_inference(open_bundle(root / "b"), "onnxruntime", precision).close()
    with pytest.raises(OfpError, match="on a Jetson Orin alone"):
        load_inference(open_bundle(root / "b"))


def test_half_precision_that_does_not_fit_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, built: Built, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiling, "_HALF_FRACTION", 1e-9)
    compiled = compile_policy(built.policy, "jetson-orin", tmp_path / "b")
    assert {a.precision for a in compiled.manifest.artefacts} == {"fp32"}
    assert "from fp32, allowed" in compiled.manifest.provenance["left_out"]["fp16"]
    assert compiled.manifest.default.precision == "fp32"
    samples = built.quantised / "calibration.npz"
    quantize_policy(built.policy, "fp16", samples, tmp_path / "half")
    with pytest.raises(ParityError, match="fp16 does not fit this policy"):
        compile_policy(tmp_path / "half", "jetson-orin", tmp_path / "c")


def test_other_targets_know_nothing_of_tensorrt(built: Built) -> None:
    assert built.report.manifest.provenance["tensorrt"] is None
    assert {a.engine for a in built.report.manifest.artefacts} == {"onnxruntime", "executorch"}


def graph(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...] = (1, 4), opset: int = 20,
    out: tuple[int, ...] | None = None, **constants: Any,
) -> bytes:  # fmt: skip
    """x -> y through `nodes`."""
    made = helper.make_graph(
        nodes, "main", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out or shape)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])
    return bytes(model.SerializeToString())


def pair(scale: Any, zero: Any) -> bytes:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q", axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="d", axis=1),
    ]
    return graph(nodes, s=np.asarray(scale, np.float32), z=zero)


def test_symmetric_pairs_pass() -> None:
    check_graph(pair(0.1, np.int8(0)), "int8", "x")


@pytest.mark.parametrize(
    ("model", "says"),
    [(pair(0.1, np.int8(3)), "zero point is not an int8 0"),
     (pair(0.1, np.uint8(0)), "zero point is not an int8 0"),
     (pair(-0.1, np.int8(0)), "scale is not positive"),
     (pair([0.1] * 4, np.zeros(4, np.int8)), "activation has a scale for each channel"),
     (graph([helper.make_node("HardSwish", ["x"], ["y"])], opset=14), None),
     (graph([helper.make_node("Det", ["x"], ["y"])], (1, 2, 2), out=(1,)), "not in the operator"),
     (graph([helper.make_node("Relu", ["x"], ["y"])], opset=21), "opset ai.onnx 21, .* 9 to 20"),
     (graph([helper.make_node("Conv", ["x", "w"], ["y"])], (1, 3, 8), out=(1, 2, 6),
            w=np.zeros((2, 3, 3), np.float32)), r"3 dimensions, expected 4 \(Conv1d as 1 x k\)"),
     (graph([helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[1, 1])], (1, 3, 4, 4)),
      "gives indices"),
     (graph([helper.make_node("Identity", ["c"], ["a"]),
             helper.make_node("ReduceSum", ["x", "a"], ["y"])], out=(1, 1), c=[1]),
      "axes are no constant"),
     (graph([helper.make_node("Abs", ["x"], ["y"])]), None)],
)  # fmt: skip
def test_what_tensorrt_would_refuse_is_refused_by_name(model: bytes, says: str | None) -> None:
    if says is None:
        check_graph(model, "fp32", "x.onnx")
        return
    with pytest.raises(OfpError, match=f"x.onnx.*{says}"):
        check_graph(model, "int8", "x.onnx")


def test_the_table_has_its_source() -> None:
    table = operator_table()
    assert table["tensorrt"] == "10.3" and "onnx-tensorrt" in table["source"]
    assert len(table["operators"]) > 140 and "QLinearConv" not in table["operators"]
