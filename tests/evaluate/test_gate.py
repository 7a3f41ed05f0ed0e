"""The gate lets a good plan pass, and names what is wrong with a bad one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import fx
from typer.testing import CliRunner

from ofp_edge.calibration.choose import choose_samples
from ofp_edge.cli.main import build_app
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.evaluate import gate as gating
from ofp_edge.evaluate.closed_loop import Episode, Job, run_jobs
from ofp_edge.evaluate.gate import check_episodes, check_jerk, check_success, run_gate
from ofp_edge.evaluate.seeds import gate_seeds
from ofp_edge.policy.deployed import Deployed
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.checks import check_error, check_samples
from ofp_edge.quantize.chunk_errors import Chunks
from ofp_edge.quantize.functions import Modules, build_functions
from ofp_edge.quantize.gate import FILE, read_gate
from ofp_edge.quantize.plan import ActionError, Plan, Range, read_plan, write_plan
from ofp_edge.spec import PolicySpec
from tests.synthetic import tiny_policy, write_synthetic_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float policy, its dataset and the quantised policy."""
    root = tmp_path_factory.mktemp("gate")
    tiny_policy(root / "policy")
    write_synthetic_dataset(root / "data.zarr")
    quantize_policy(root / "policy", "int8", root / "data.zarr", root / "int8", samples=32)
    return root


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    shutil.copytree(root / "int8", tmp_path / "int8")
    return tmp_path / "int8"


@pytest.fixture
def ten_copies(root: Path, tmp_path: Path) -> Path:
    found = choose_samples([root / "data.zarr"], load_policy(root / "policy"), 32, 0)
    same = replace(found, samples=found.samples.take([0] * 10))
    (tmp_path / "ten.npz").write_bytes(same.to_bytes())
    return tmp_path / "ten.npz"


def test_a_good_plan_passes_and_the_file_says_so(folder: Path) -> None:
    gate = run_gate(folder, episodes=0)
    assert gate.passed and gate == read_gate(folder)
    verdicts = {check.name: check.passed for check in gate.checks}
    assert verdicts == {
        "samples": True, "weights": True, "ranges": True, "error": True, "jerk": True,
        "closed-loop": None,
    }  # fmt: skip
    assert (
        gate.checks[-1].says
        == "not run: the policy is not of one simulated task, and none was given: --task"
    )


def test_ten_copies_of_one_frame_are_caught(root: Path, ten_copies: Path, tmp_path: Path) -> None:
    quantize_policy(root / "policy", "int8", ten_copies, tmp_path / "q")
    gate = run_gate(tmp_path / "q", episodes=0)
    assert not gate.passed
    says = {check.name: check.says for check in gate.failed}
    assert says["samples"].startswith("1 of 10 calibration samples differ")


@pytest.mark.parametrize(
    ("rows", "good"),
    [(range(15), False), (range(16), True), ([*range(16), *range(16)], False)],
    ids=["too few", "enough", "half of them twice"],
)
def test_samples_must_be_enough_and_mostly_different(
    root: Path, rows: Sequence[int], good: bool
) -> None:
    found = choose_samples([root / "data.zarr"], load_policy(root / "policy"), 32, 0)
    assert check_samples(found.samples.take(list(rows))).passed is good


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_a_scale_off_by_100_is_caught_and_the_layer_named(folder: Path, factor: float) -> None:
    plan = read_plan(folder)
    assert plan is not None
    layer = next(x for x in plan.layers if x.name == "trunk.blocks.0.up")
    assert layer.input is not None
    off = Range(layer.input.low * factor, layer.input.high * factor)
    layers = tuple(replace(x, input=off) if x is layer else x for x in plan.layers)
    write_plan(replace(plan, layers=layers), folder)
    (check,) = (x for x in run_gate(folder, episodes=0).failed if x.name == "ranges")
    assert "act.trunk.blocks.0.up" in check.says
    assert json.loads((folder / FILE).read_text())["passed"] is False


def test_one_corrupted_weight_scale_is_caught_and_the_layer_named(folder: Path) -> None:
    def build(deployed: Deployed, plan: Plan) -> Modules:
        functions = build_functions(deployed, plan)
        assert isinstance(functions["act"], fx.GraphModule)
        nodes = [
            n for n in functions["act"].graph.nodes if "dequantize_per_channel" in str(n.target)
        ]
        scales = getattr(functions["act"], nodes[2].args[1].target)
        scales[3] *= 1.5  # of one channel of one layer
        return functions

    gate = run_gate(folder, episodes=0, build=build)
    (check,) = (x for x in gate.failed if x.name == "weights")
    assert check.figures["layer"].startswith("act.trunk") and check.figures["steps"] > 10


def test_it_runs_paired_episodes_where_there_is_a_simulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ofp_edge.sim.collect import collect_demonstrations
    from ofp_edge.sim.tasks import find_task
    from tests.evaluate.test_lanes import spec_of

    task = find_task("planar/obstacle")
    spec = replace(spec_of(task, "state"), horizon=8, n_action_steps=4)
    policy = tiny_policy(tmp_path / "p", spec=spec, task=task.name)
    collect_demonstrations(task.name, 6, tmp_path / "d.zarr", observe="state")
    quantize_policy(policy, "int8", tmp_path / "d.zarr", tmp_path / "q", samples=24)
    with pytest.raises(OfpError, match="--episodes 3: expected 0 or at least 100"):
        run_gate(tmp_path / "q", episodes=3)
    with pytest.raises(OfpError, match="--episodes 10001: expected 1..10000"):
        check_episodes(10_001)  # before any work
    monkeypatch.setattr(gating, "FEWEST_EPISODES", 3)
    asked: list[tuple[str | None, int]] = []

    def run(jobs: Sequence[Job], seeds: Sequence[int], **others: Any) -> list[list[Episode]]:
        asked.extend((job.choice.precision, seed) for job in jobs for seed in seeds)
        return run_jobs(jobs, seeds, **others)

    monkeypatch.setattr(gating, "run_jobs", run)
    check = run_gate(tmp_path / "q", episodes=3, workers=1).checks[-1]
    assert asked == [(p, seed) for p in ("fp32", "int8") for seed in gate_seeds(3)]
    assert check.name == "closed-loop" and check.figures["episodes"] == 3
    assert check.figures["difference"] == 0
    assert check.passed is False and check.figures["interval"] == [-1, 0]  # 3 can't tell


def test_success_must_not_be_lower_by_more_than_the_margin() -> None:
    good = [True] * 500
    same = check_success(good, good, "t")
    assert same.passed and same.figures["interval"][0] == pytest.approx(-3 / 500)
    assert check_success(good, [True] * 498 + [False] * 2, "t").passed
    worse = check_success(good, [True] * 480 + [False] * 20, "t")
    assert not worse.passed and "difference -4.0 points" in worse.says
    few = check_success([True] * 20, [True] * 19 + [False], "t")
    assert not few.passed  # too few to tell


def test_an_error_over_budget_or_no_number_fails() -> None:
    good = ActionError("move[0]", "m", 0.004, 0.001, 0.002)
    assert check_error([good], "here").passed
    over = check_error([good, replace(good, name="move[1]", mean=0.003)], "here")
    assert not over.passed and over.says.startswith("move[1]: mean 3 mm, largest 4 mm, allowed")
    none = check_error([good, replace(good, mean=float("nan"))], "here")
    assert none.passed is False and none.figures["mean"] is None


def test_trembling_chunks_fail(root: Path) -> None:
    spec: PolicySpec = load_policy(root / "policy").config.spec
    rng = np.random.default_rng(0)
    time = np.arange(spec.horizon)[None, :, None] / spec.horizon
    smooth = np.sin(time + rng.random((8, 1, spec.action_dim))).astype(np.float32)
    noise = 0.1 * rng.normal(size=smooth.shape).astype(np.float32)
    assert check_jerk(spec, Chunks(smooth, smooth)).passed
    check = check_jerk(spec, Chunks(smooth, smooth + noise))
    assert check.passed is False and check.figures["ratio"] > 2


def test_a_gate_of_another_plan_is_refused(folder: Path) -> None:
    run_gate(folder, episodes=0)
    plan = read_plan(folder)
    assert plan is not None
    write_plan(replace(plan, seed=7), folder)
    with pytest.raises(PolicyError, match=r"is of another quantization\.json"):
        read_gate(folder)


def test_a_float_policy_has_no_gate(root: Path) -> None:
    with pytest.raises(PolicyError, match="quantise it first"):
        run_gate(root / "policy", episodes=0)


def test_the_command_exits_1_and_names_the_check(
    root: Path, ten_copies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["quantize", str(root / "policy"), "--calibration", str(ten_copies), "-o", str(out),
                 "--gate", "--json"]  # fmt: skip
    result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code == 1
    assert "gate failed, samples: 1 of 10" in " ".join(result.stderr.split())
    assert "closed-loop: not run" in result.stderr
    document = json.loads(result.stdout)
    assert document["gate"]["passed"] is False
    assert (out / FILE).exists()
