"""An image policy with two cameras: one XNNPACK subgraph, no normalisation, parity on all engines.

The golden check of `compile` is the judge of parity: it raises where the engines differ.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofp_edge.bundle import open_bundle
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.targets.compile import Compiled, compile_policy
from ofp_edge.targets.export import FORMS
from tests.needs import needs_engines
from tests.synthetic import tiny_policy, write_synthetic_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rgb")


@pytest.fixture(scope="module")
def policy(root: Path) -> Path:
    return tiny_policy(root / "policy", "rgb")


@pytest.fixture(scope="module")
def compiled(root: Path, policy: Path) -> Compiled:
    needs_engines()
    data = write_synthetic_dataset(root / "data.zarr", obs="rgb")
    quantize_policy(policy, "int8", data, root / "int8", samples=16)
    return compile_policy(root / "int8", "arm-cpu", root / "bundle")


def test_encode_is_one_subgraph_without_normalisation(policy: Path) -> None:
    deployed = deploy(load_policy(policy))
    function = deployed.function("encode")
    assert [x.shape for x in function.inputs] == [
        (1, 4),
        (1, 3, 12, 16),
        (1, 3, 12, 16),
    ]
    exported = FORMS["pte"](deployed.encode, function.inputs, function.outputs)
    assert (exported.delegates, exported.delegated_share) == (1, 1.0), exported.left_out
    operations = FORMS["onnx"](deployed.encode, function.inputs, function.outputs).operations
    assert not any("Norm" in name for name in operations)
    assert operations["Softmax"] == 2 and operations["MaxPool"] == 2


def test_int8_quantises_the_convolutions_into_one_subgraph(compiled: Compiled) -> None:
    for name in ("encode.fp32.pte", "encode.int8.pte"):
        exported = compiled.exported[name]
        assert (exported.delegates, exported.delegated_share) == (1, 1.0), exported.left_out
    assert compiled.exported["encode.int8.onnx"].operations["DequantizeLinear"] > 20


def test_every_engine_and_precision_answers_like_torch(compiled: Compiled, root: Path) -> None:
    assert sorted(name for name in compiled.parity if name.startswith("encode")) == [
        "encode.fp32.onnx", "encode.fp32.pte", "encode.int8.onnx", "encode.int8.pte"
    ]  # fmt: skip
    golden = open_bundle(root / "bundle").golden()
    images = [golden[f"input/encode/rgb_{name}"] for name in ("front", "side")]
    for values in images:
        assert 0 <= values.min() and values.max() <= 1


def test_what_the_robot_gives_as_uint8_the_engine_gets_in_0_to_1(
    compiled: Compiled, root: Path
) -> None:
    inference = load_inference(open_bundle(root / "bundle"), "onnxruntime", "fp32")
    image = np.arange(3 * 12 * 16, dtype=np.int64).astype(np.uint8).reshape(3, 12, 16)
    seen = {"state": np.zeros(4, np.float32), "rgb_front": image, "rgb_side": 255 - image}
    inference.observe(0, seen)
    given = inference.runners["encode"].inputs["rgb_front"]
    assert given.min() == 0 and given.max() == 1
    np.testing.assert_array_equal(given[0], image * np.float32(1 / 255))
    inference.close()
