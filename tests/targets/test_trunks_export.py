"""Every trunk, with codes and told what is committed, in float and int8, lowers to one XNNPACK
subgraph, TensorRT's table takes it, and the engines agree with torch.

The golden check of `compile` is the judge of "agree": it raises where they differ.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from ofp_edge.bundle import open_bundle
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.functions import build_functions
from ofp_edge.quantize.plan import read_plan
from ofp_edge.targets.compile import compile_policy
from ofp_edge.targets.export import FORMS
from ofp_edge.targets.tensorrt_graph import check_graph
from tests.needs import needs_engines
from tests.synthetic import tiny_policy, write_synthetic_dataset

KINDS = {"unet": 8, "transformer": 16}  # and the steps of a chunk; other tests run on an MLP


@pytest.fixture(scope="module", params=KINDS)
def quantised(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    kind, horizon = request.param, KINDS[request.param]
    policy = tiny_policy(
        root / "policy", "state", trunk=kind, horizon=horizon, codes=6, committed_steps=3
    )
    data = write_synthetic_dataset(root / "data.zarr", obs="state")
    quantize_policy(policy, "int8", data, root / "int8", samples=16)
    return root / "int8"


@pytest.mark.slow
def test_a_bundle_holds_one_subgraph_a_precision_and_passes_parity(
    quantised: Path, tmp_path: Path
) -> None:
    needs_engines()
    report = compile_policy(quantised, "arm-cpu", tmp_path / "bundle")
    programs = {n: x for n, x in report.exported.items() if n.startswith("act.") and x.delegates}
    assert sorted(programs) == ["act.fp32.pte", "act.int8.pte"]
    for exported in programs.values():
        assert (exported.delegates, exported.delegated_share) == (1, 1.0), exported.left_out
    bundle = open_bundle(tmp_path / "bundle")
    act = bundle.manifest.provenance["costs"]["act"]
    assert act["flops"] > act["parameters"] > 0
    for precision in ("fp32", "int8"):
        graph = bundle.read(bundle.artefact("act", "onnxruntime", precision).file)
        check_graph(graph, precision, "act")
        products = [x for x in onnx.load_model_from_string(graph).graph.node if x.op_type == "Gemm"]
        assert all(len(x.input) == 3 for x in products), "the sum is within the layer"


def test_only_the_ends_of_the_flow_and_the_choice_stay_in_float(quantised: Path) -> None:
    plan = read_plan(quantised)
    assert plan is not None
    reasons = {x.name: str(x.reason) for x in plan.layers if x.precision == "fp32"}
    told = [f"{x}.{y}" for x in ("codes.chooser", "trunk") for y in ("inlet", "outlet", "told")]
    assert sorted(reasons) == sorted([*told, "codes.embedding"])
    assert "reads z" in reasons["trunk.inlet"] and "gives u" in reasons["trunk.outlet"]
    assert "reads z" in reasons["codes.chooser.inlet"]
    for name in ("codes.chooser.outlet", "codes.embedding"):
        assert "chooses a code, or is one" in reasons[name]


def test_int8_stays_within_the_error_budget(quantised: Path) -> None:
    plan = read_plan(quantised)
    assert plan is not None
    assert all(0 < x.mean <= x.budget for x in plan.error)


def test_a_plan_read_back_rebuilds_the_same_graph(quantised: Path) -> None:
    plan, deployed = read_plan(quantised), deploy(load_policy(quantised))
    assert plan is not None
    one, two = (build_functions(deployed, plan)["act"] for _ in range(2))
    assert one.code == two.code  # scales stand in the code


@pytest.mark.slow
def test_a_chunk_of_16_steps_lowers_whole_too(tmp_path: Path) -> None:
    """The U-Net's, whose graph follows the length of a chunk; the transformer's above has 16."""
    path = tiny_policy(tmp_path / "policy", "state", trunk="unet", horizon=16)
    deployed = deploy(load_policy(path))
    function = deployed.function("act")
    exported = FORMS["pte"](deployed.act, function.inputs, function.outputs)
    assert (exported.delegates, exported.delegated_share) == (1, 1.0), exported.left_out
