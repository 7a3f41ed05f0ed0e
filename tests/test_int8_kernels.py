"""ONNX Runtime's int8 answers are exact where its integer kernels would saturate."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ofp_edge import int8_kernels
from ofp_edge.functions import Tensor
from ofp_edge.int8_kernels import UNFUSED, open_exactly
from ofp_edge.policy.imported.onnx_graph import OnnxModule
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.targets.unsigned import unsigned_integers

_IN, _OUT = 64, 48


def layer(kind: str, weights: NDArray[np.int8]) -> bytes:
    """A quantised layer, symmetric and signed, as `compile` writes it; steps of 1."""
    one, zero = np.float32(1), np.int8(0)
    scales, zeros = np.ones(_OUT, np.float32), np.zeros(_OUT, np.int8)
    spatial = [1, 1] if kind == "Conv" else []
    constants = {
        "step": one, "zero": zero, "scales": scales, "zeros": zeros, "wide": np.float32(2**14),
        "w": weights.reshape(_OUT, _IN, *spatial),
    }  # fmt: skip
    more = {"transB": 1} if kind == "Gemm" else {}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "step", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "scales", "zeros"], ["wd"], axis=0),
        helper.make_node(kind, ["xd", "wd"], ["yf"], **more),
        helper.make_node("QuantizeLinear", ["yf", "wide", "zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "wide", "zero"], ["y"]),
    ]
    shapes = {"x": [1, _IN, *spatial], "y": [1, _OUT, *spatial]}
    ends = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()}
    graph = helper.make_graph(
        nodes, "main", [ends["x"]], [ends["y"]],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def exact(weights: NDArray[np.int8], x: NDArray[np.float32]) -> NDArray[np.float32]:
    sums = weights.astype(np.int64) @ x.astype(np.int64)
    return np.clip(np.round(sums / 2**14), -128, 127).astype(np.float32) * np.float32(2**14)


@pytest.mark.parametrize("form", ["signed", "unsigned"])
@pytest.mark.parametrize("kind", ["Conv", "Gemm"])
def test_products_that_do_not_fit_16_bits_are_added_exactly(kind: str, form: str) -> None:
    rng = np.random.default_rng(0)
    weights = rng.choice(np.array([-127, 126, 127], np.int8), (_OUT, _IN), p=[0.2, 0.2, 0.6])
    x = rng.choice(np.array([-128, 120, 127], np.float32), _IN, p=[0.1, 0.2, 0.7])
    model = layer(kind, weights)
    if form == "unsigned":
        model = unsigned_integers(model, relu_from_zero=False)
    spatial = (1, 1) if kind == "Conv" else ()
    tensors = [
        Tensor("x", (1, _IN, *spatial), "float32"),
        Tensor("y", (1, _OUT, *spatial), "float32"),
    ]
    runner = load_runner("onnxruntime", model, tensors[:1], tensors[1:])
    runner.inputs["x"].reshape(-1)[:] = x
    runner.infer()
    np.testing.assert_array_equal(runner.outputs["y"].reshape(-1), exact(weights, x))


class Options:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


@pytest.mark.parametrize(
    ("machine", "unfused"), [("x86_64", True), ("AMD64", True), ("aarch64", False)]
)
def test_signed_integers_stay_unfused_on_x86_alone(
    machine: str, unfused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_kernels.platform, "machine", lambda: machine)
    signed = layer("Gemm", np.ones((_OUT, _IN), np.int8))
    for model, expected in (
        (signed, unfused), (unsigned_integers(signed, relu_from_zero=False), False),
    ):  # fmt: skip
        options = Options()
        open_exactly(options, model)
        assert options.entries == ({UNFUSED: "1"} if expected else {})


def test_the_engine_s_remarks_on_a_graph_stay_off_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    graph = onnx.load_from_string(layer("Gemm", np.ones((_OUT, _IN), np.int8)))
    graph.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "unread"))
    model = graph.SerializeToString()
    OnnxModule(model, "net.onnx")
    x, y = Tensor("x", (1, _IN), "float32"), Tensor("y", (1, _OUT), "float32")
    load_runner("onnxruntime", model, [x], [y]).infer()
    assert capfd.readouterr() == ("", "")


def test_an_imported_graph_that_is_quantised_already_is_exact_too() -> None:
    import torch

    weights = np.full((_OUT, _IN), 127, np.int8)
    x = np.full(_IN, 127, np.float32)
    module = OnnxModule(layer("Gemm", weights), "net.onnx")
    got = module(torch.from_numpy(x[None]))
    np.testing.assert_array_equal(got.numpy()[0], exact(weights, x))
