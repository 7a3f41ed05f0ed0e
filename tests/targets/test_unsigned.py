"""Unsigned integers for ONNX Runtime on x86: other integers, the same answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.onnx_file import tensor_types
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.runtime.runners.check import GoldenRun
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.targets import registry
from ofp_edge.targets.compile import compile_policy
from ofp_edge.targets.unsigned import unsigned_integers
from tests.targets.conftest import Built

FUNCTIONS = ("encode", "act")

INT8, UINT8 = onnx.TensorProto.INT8, onnx.TensorProto.UINT8


def zero_points(model: bytes) -> list[tuple[int, int]]:
    """(type, value) of every quantise node's."""
    graph = onnx.load_from_string(model).graph
    known = {x.name: x for x in graph.initializer}
    found = [known[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"]
    return [(x.data_type, int(onnx.numpy_helper.to_array(x))) for x in found]


def unread(model: bytes) -> set[str]:
    """Constants that no node reads."""
    graph = onnx.load_from_string(model).graph
    return {x.name for x in graph.initializer} - {name for n in graph.node for name in n.input}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("relu_from_zero", [False, True])
def test_answers_stay_the_same_bit_by_bit(
    built: Built, function: str, relu_from_zero: bool
) -> None:
    bundle = open_bundle(built.bundle)
    signed = bundle.read(f"{function}.int8.onnx")
    shifted = unsigned_integers(signed, relu_from_zero=relu_from_zero)
    onnx.checker.check_model(onnx.load_from_string(shifted))
    assert {kind for kind, _ in zero_points(signed)} == {INT8}
    assert {kind for kind, _ in zero_points(shifted)} == {UINT8}
    assert {INT8, UINT8} & tensor_types(shifted) == {UINT8}, "weights and zero points too"
    assert unread(shifted) == set(), "the engine would warn of what it removes"
    relu = "Relu" in {n.op_type for n in onnx.load_from_string(signed).graph.node}
    assert (0 in {point for _, point in zero_points(shifted)}) is (relu and relu_from_zero)
    assert relu is (function == "encode")
    answers = [_answers(bundle, function, model) for model in (signed, shifted)]
    for name in answers[0]:
        np.testing.assert_array_equal(answers[0][name], answers[1][name])


def _answers(bundle: Bundle, function: str, model: bytes) -> dict[str, NDArray[np.float32]]:
    takes = bundle.manifest.function(function)
    runner = load_runner("onnxruntime", model, takes.inputs, takes.outputs)
    run = GoldenRun(bundle.manifest.functions, {function: runner}, bundle.golden())
    return run.answers(function)


@pytest.mark.parametrize(("method", "lowest"), [("min-max", {0, 128}), ("percentile", {128})])
def test_a_target_asks_for_it_and_ranges_that_cut_off_keep_their_relu(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, lowest: set[int]
) -> None:
    known = replace(registry.target("host"), unsigned_integers=True, engines=("onnxruntime",))
    monkeypatch.setitem(registry.TARGETS, "host", known)
    data = built.policy.parent / "data.zarr"
    quantize_policy(built.policy, "int8", data, tmp_path / "q", samples=32, method=method)
    compile_policy(tmp_path / "q", "host", tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    points = {x for f in FUNCTIONS for x in zero_points(bundle.read(f"{f}.int8.onnx"))}
    assert points == {(UINT8, x) for x in lowest}
