"""A policy that is told a committed prefix: quantised, exported, compiled and judged with one.

On an MLP; that other trunks lower and agree when they are told is in test_trunks_export.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.functions import prefix_of
from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.prefix import Prefix
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.functions import build_functions
from ofp_edge.quantize.inputs import act_inputs, synthetic_windows
from ofp_edge.quantize.plan import read_plan
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.targets.compile import compile_policy
from ofp_edge.targets.export import FORMS
from ofp_edge.targets.tensorrt_graph import check_graph
from tests.needs import needs_engines
from tests.synthetic import tiny_policy, write_synthetic_dataset

COMMITTED = 3
KINDS = ["mlp", "unet", "transformer"]


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("quantised")
    policy = tiny_policy(root / "policy", "state", committed_steps=COMMITTED, codes=6)
    data = write_synthetic_dataset(root / "data.zarr", obs="state")
    quantize_policy(policy, "int8", data, root / "int8", samples=16)
    return root / "int8"


@pytest.mark.parametrize("kind", KINDS)
def test_act_is_the_network_that_is_told(tmp_path: Path, kind: str) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", "state", trunk=kind, committed_steps=3))
    deployed, network = deploy(policy), policy.network
    generator = torch.Generator().manual_seed(0)
    features, z, committed = (
        torch.randn(1, size, generator=generator)
        for size in (network.null.numel(), network.chunk_size, network.chunk_size)
    )
    prefix = Prefix(committed, torch.tensor([[1.0, 1, 0, 0, 0, 0, 0, 0]]))
    z = prefix.put_into(z)
    for row in deployed.time_rows:
        with torch.no_grad():
            told = torch.tensor([row.row]), prefix.told, prefix.free
            _, found = deployed.act(features, z, *told)
            t, r = torch.tensor([row.t]), torch.tensor([row.r])
            u = network(z, t, r, features, prefix)
        want = prefix.put_into(z + (row.r - row.t) * u)
        torch.testing.assert_close(found, want)
        assert torch.equal(found[:, :8], committed[:, :8])  # two steps of four actions


def test_calibration_sees_every_row_with_and_without_a_prefix(tmp_path: Path) -> None:
    deployed = deploy(load_policy(tiny_policy(tmp_path / "p", "state", committed_steps=3)))
    found = act_inputs(deployed, synthetic_windows(deployed.spec, 6, 0), 0)
    masks: dict[str, set[float]] = {}
    for name, values in found:
        prefix = Prefix.of(*values[3:])
        masks.setdefault(name, set()).add(float(prefix.mask.sum()))
        assert torch.equal(prefix.free, values[4]) and torch.equal(prefix.told, values[3])
        assert torch.equal(prefix.put_into(values[1]), values[1])
    told = {f"{name}, committed": {1.0, 2.0, 3.0} for name in ("cold", "warm", "refine")}
    assert masks == {**told, "cold": {0.0}, "warm": {0.0}, "refine": {0.0}}


def test_one_subgraph_in_float(quantised: Path) -> None:
    deployed = deploy(load_policy(quantised))
    one_subgraph(deployed.act, deployed)


def test_one_subgraph_in_int8(quantised: Path) -> None:
    plan, deployed = read_plan(quantised), deploy(load_policy(quantised))
    assert plan is not None
    one_subgraph(build_functions(deployed, plan)["act"], deployed)


def one_subgraph(act: torch.nn.Module, deployed: Deployed) -> None:
    function = deployed.function("act")
    exported = FORMS["pte"](act, function.inputs, function.outputs)
    assert (exported.delegates, exported.delegated_share) == (1, 1.0), exported.left_out


def test_tensorrts_table_takes_the_graph_with_its_names(quantised: Path) -> None:
    plan, deployed = read_plan(quantised), deploy(load_policy(quantised))
    assert plan is not None
    function = deployed.function("act")
    for precision, act in (
        ("fp32", deployed.act),
        ("int8", build_functions(deployed, plan)["act"]),
    ):
        exported = FORMS["onnx"](act, function.inputs, function.outputs)
        check_graph(exported.model, precision, "act")
        products = [
            x for x in onnx.load_model_from_string(exported.model).graph.node if x.op_type == "Gemm"
        ]
        assert all(len(x.input) == 3 for x in products), "the sum is within the layer"
        runner = load_runner("onnxruntime", exported.model, function.inputs, function.outputs)
        assert set(runner.inputs) == {"features", "z", "time_row", "committed", "free"}


def test_what_reads_the_chunk_stays_in_float(quantised: Path) -> None:
    plan = read_plan(quantised)
    assert plan is not None
    kept = {x.name for x in plan.layers if x.precision == "fp32"}
    trunk = {"trunk.inlet", "trunk.outlet", "trunk.told"}
    chooser = {x.replace("trunk", "codes.chooser") for x in trunk}
    assert kept == {*trunk, *chooser, "codes.embedding"}
    assert all(0 < x.mean <= x.budget for x in plan.error)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    needs_engines()
    root = tmp_path_factory.mktemp("told")
    policy = tiny_policy(root / "policy", "state", committed_steps=COMMITTED)
    compile_policy(policy, "arm-cpu", root / "bundle")
    return open_bundle(root / "bundle")


def test_the_manifest_says_what_act_is_told_and_in_what_scale(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.function("act").inputs[3:] == prefix_of(manifest.spec)
    assert manifest.committed is not None
    # The policy's own ranges are -1 to 1.
    assert (manifest.committed.steps, manifest.committed.scale) == (COMMITTED, (1.0,) * 4)
    assert manifest.committed.offset == (0.0,) * 4


def test_golden_inputs_hold_prefixes_and_none(bundle: Bundle) -> None:
    golden = bundle.golden()
    free = golden["input/act/free"].reshape(-1, 8, 4)
    assert {0.0, 1.0, 2.0, 3.0} == set((free == 0).all(2).sum(1).tolist())
    told = golden["input/act/committed"].reshape(-1, 8, 5)
    chunk = golden["output/act/fp32/chunk_normalised"].reshape(-1, 8, 4)
    np.testing.assert_array_equal(told[:, :, 4], (free == 0).all(2))
    np.testing.assert_array_equal(chunk[free == 0], told[:, :, :4][free == 0])


def test_a_policy_without_a_prefix_has_the_functions_of_before(tmp_path: Path) -> None:
    deployed = deploy(load_policy(tiny_policy(tmp_path / "policy", "state")))
    assert deployed.committed is None
    assert [x.name for x in deployed.function("act").inputs] == ["features", "z", "time_row"]
    calls = act_inputs(deployed, synthetic_windows(deployed.spec, 2, 0), 0)
    assert [name for name, _ in calls] == ["cold", "warm", "refine"] * 2
    assert {len(values) for _, values in calls} == {3}
