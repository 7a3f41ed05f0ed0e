"""TensorRT-RTX reads and builds this project's graphs, without a GPU, by the builder of the Orin.

RTX is NVIDIA's TensorRT for PC GPUs (here for SM86): what passes is a conformance check by a real
parser and builder, not an engine of an Orin. Sizes and layers are RTX's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.bundle import open_bundle
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.plan import read_plan
from ofp_edge.runtime.runners.tensorrt.api import make_log
from ofp_edge.runtime.runners.tensorrt.build import build_engine
from ofp_edge.sim.collect import collect_demonstrations
from ofp_edge.targets.compile import compile_policy
from ofp_edge.targets.tensorrt_graph import check_graph, operator_table
from tests import synthetic
from tests.tensorrt.wheels import load_rtx

FUNCTIONS = ("encode", "act")

pytestmark = pytest.mark.tensorrt
DEMO = Path(__file__).resolve().parents[2] / "examples/policies/button-press-topdown-wide"
PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(scope="module")
def rtx() -> Any:
    return load_rtx()


def build_all(rtx: Any, bundle_folder: Path) -> dict[str, int]:
    """By file, the bytes of RTX's engine."""
    bundle, sizes = open_bundle(bundle_folder), {}
    for engine, precision in bundle.engines():
        if engine != "tensorrt":
            continue
        for function in FUNCTIONS:
            file = bundle.artefact(function, engine, precision).file
            built = build_engine(rtx, make_log(rtx), bundle.read(file), configure=for_sm86(rtx))
            sizes[file] = len(built.plan)
            print(f"RTX, SM86: {file}: {len(built.plan)} bytes")
    return sizes


def for_sm86(rtx: Any) -> Any:
    def configure(config: Any) -> None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(rtx.ComputeCapability.SM86, 0)

    return configure


def full_size_rgb(folder: Path) -> tuple[Path, Path]:
    """An untrained policy of preset resnet18, two cameras of 96 x 128, and a dataset for it."""
    import torch

    from ofp_edge.policy.folder import load_policy, save_policy
    from ofp_edge.policy.presets import preset

    camera = replace(synthetic.CAMERA, width=256, height=192)
    size = (3, 96, 128)
    fields = [synthetic.state_field(4), *(replace(f, shape=size) for f in synthetic.rgb_fields())]
    chosen = preset("resnet18")
    small = load_policy(synthetic.tiny_policy(folder / "tiny", "rgb"))
    spec = replace(
        small.config.spec, observations=tuple(fields), horizon=chosen.horizon,
        n_obs_steps=chosen.n_obs_steps,
    )  # fmt: skip
    torch.manual_seed(0)
    network = chosen.network.build(spec, small.statistics).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.01)
    cameras = {f.camera: camera for f in fields if f.camera}
    config = replace(
        small.config, network=chosen.network, spec=spec, preset="resnet18", cameras=cameras,
        time_rows=chosen.time_rows,
    )  # fmt: skip
    (folder / "policy").mkdir()
    save_policy(replace(small, config=config, network=network), folder / "policy")
    rng, n = np.random.default_rng(0), 60
    colors = rng.integers(0, 256, (n, camera.height, camera.width, 3), np.uint8)
    arrays = {
        "state": rng.uniform(-0.5, 0.5, (n, 4)).astype(np.float32),
        "action": rng.uniform(-1, 1, (n, 4)).astype(np.float32),
        "rgb_front": colors, "rgb_side": colors[:, ::-1],
    }  # fmt: skip
    attributes = synthetic.attributes(fields, 4)
    attributes["cameras"] = {name: camera.to_json() for name in cameras}
    ends = np.asarray([15, 30, 45, 60], np.int64)
    synthetic.write_raw(folder / "data.zarr", attributes, arrays, ends)
    return folder / "policy", folder / "data.zarr"


def test_the_demos_policy_builds_in_both_float_precisions(rtx: Any, tmp_path: Path) -> None:
    compile_policy(DEMO, "jetson-orin", tmp_path / "b")
    sizes = build_all(rtx, tmp_path / "b")
    assert sorted(sizes) == sorted(f"{f}.{p}.onnx" for f in FUNCTIONS for p in ("fp32", "fp16"))
    assert all(size > 10_000 for size in sizes.values())


def test_the_demos_policy_builds_quantised(rtx: Any, tmp_path: Path) -> None:
    """By a plan from frames of its own task, as a user makes it."""
    data = tmp_path / "data.zarr"
    collect_demonstrations("metaworld/button-press-topdown-wide", 2, data)
    quantize_policy(DEMO, "int8", data, tmp_path / "int8", samples=16)
    compile_policy(tmp_path / "int8", "jetson-orin", tmp_path / "b")
    sizes = build_all(rtx, tmp_path / "b")
    assert sorted(sizes) == sorted(f"{f}.{p}.onnx" for f in FUNCTIONS for p in PRECISIONS)


@pytest.mark.parametrize("trunk", ["mlp", "unet", "transformer"])
def test_every_trunk_builds_quantised(rtx: Any, tmp_path: Path, trunk: str) -> None:
    policy = synthetic.tiny_policy(tmp_path / "policy", "points", trunk=trunk)
    data = synthetic.write_synthetic_dataset(tmp_path / "data.zarr", obs="points")
    quantize_policy(policy, "int8", data, tmp_path / "int8", samples=16)
    compile_policy(tmp_path / "int8", "jetson-orin", tmp_path / "b")
    assert len(build_all(rtx, tmp_path / "b")) == len(FUNCTIONS) * len(PRECISIONS)


def test_a_full_size_rgb_policy_builds_in_every_precision(rtx: Any, tmp_path: Path) -> None:
    policy, data = full_size_rgb(tmp_path)
    quantize_policy(policy, "int8", data, tmp_path / "int8", samples=8, error_budget_percent=50.0)
    compiled = compile_policy(tmp_path / "int8", "jetson-orin", tmp_path / "b")
    assert len(build_all(rtx, tmp_path / "b")) == len(FUNCTIONS) * len(PRECISIONS)
    higher = compiled.manifest.provenance["tensorrt"]["higher_precision"]
    # Beside what the plan keeps in float: where the spatial softmax weighs its pixels.
    plan = read_plan(tmp_path / "int8")
    assert plan is not None
    for function in FUNCTIONS:
        kept = {f"{x.name} (fp32)" for x in plan.layers
                if x.function == function and x.precision != "int8"}  # fmt: skip
        listed = set(higher[f"{function}.int8.onnx"])
        assert kept <= listed and all("softmax.places" in x for x in listed - kept)


def test_what_the_table_refuses_is_refused_by_the_parser_too(rtx: Any) -> None:
    import onnx
    from onnx import TensorProto, helper

    from ofp_edge.errors import BundleError, OfpError

    assert "Det" not in operator_table()["operators"]
    graph = helper.make_graph(
        [helper.make_node("Det", ["x"], ["y"], name="det")], "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2,))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    with pytest.raises(OfpError, match="Det det: not in the operator table"):
        check_graph(model.SerializeToString(), "fp32", "x.onnx")
    with pytest.raises(BundleError, match="cannot read the graph"):
        build_engine(rtx, make_log(rtx), model.SerializeToString(), configure=for_sm86(rtx))
