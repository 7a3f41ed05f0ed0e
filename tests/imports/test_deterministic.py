"""Policies without noise: a program that gives its chunk, through every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

pytest.importorskip("onnxruntime")
pytest.importorskip("zarr")

from ofp_edge.bundle import open_bundle
from ofp_edge.cli.main import build_app
from ofp_edge.cli.run_report import run_document
from ofp_edge.errors import BundleError, CheckFailed, OfpError, PolicyError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.imports.program import import_program
from ofp_edge.imports.record import write_imported
from ofp_edge.manifest_reader import read_manifest
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.policy.folder import load_policy
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.run_files import Request, read_run
from ofp_edge.runtime.session import open_session
from ofp_edge.sim.collect import collect_demonstrations
from ofp_edge.sim.fields import action_fields, observation_fields
from ofp_edge.sim.tasks import find_task
from ofp_edge.spec import PolicySpec
from ofp_edge.targets.compile import compile_policy

NAME = "planar/obstacle"
TASK = find_task(NAME)
SPEC = PolicySpec(
    observation_fields(TASK, "state"), action_fields(TASK), 2, 8, 2, TASK.control_hz, 1
)
D = SPEC.observations[0].shape[0]
RIG = """
schema_version = 1
[robot]
driver = "ofp_edge.sim.robot:SimulatedRobot"
options = { task = "planar/obstacle", world = "deterministic" }
[timing]
latency_ms = 100.0
max_plan_age_ms = 350.0
"""


class Regression(nn.Module):
    """chunk(observations): (1, 2, D) -> (1, H, A)."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(2 * D, 32)
        self.last = nn.Linear(32, SPEC.horizon * SPEC.action_dim)

    def forward(self, observations: Tensor) -> Tensor:
        h = torch.relu(self.first(observations.flatten(1)))
        return torch.tanh(self.last(h)).view(1, SPEC.horizon, SPEC.action_dim)


def write_program(folder: Path, form: str, module: nn.Module, **more: Any) -> tuple[Path, Path]:
    seen = (torch.zeros(1, 2, D),)
    path = folder / ("u.onnx" if form == "onnx" else "u.pt2")
    if form == "onnx":
        program = torch.onnx.export(
            module.eval(), seen, dynamo=True, opset_version=18, verbose=False
        )
        path.write_bytes(program.model_proto.SerializeToString())
    else:
        torch.export.save(torch.export.export(module.eval(), seen), path)
    said = {"spec": SPEC.to_json(), "predicts": "chunk", "task": NAME, **more}
    (folder / "spec.json").write_text(json.dumps(said))
    return path, folder / "spec.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of each form, a bundle, another one, a dataset and a rig."""
    root = tmp_path_factory.mktemp("deterministic")
    for form in ("exported", "onnx"):
        found = import_program(form, *write_program(root, form, Regression()))  # type: ignore[arg-type]
        write_imported(found, root / form, force=False)
    compile_policy(root / "onnx", "host", root / "bundle")
    other = import_program("onnx", *write_program(root, "onnx", Regression(seed=1)))
    write_imported(other, root / "another", force=False)
    compile_policy(root / "another", "host", root / "other")
    collect_demonstrations(NAME, 2, root / "data", observe="state")
    (root / "rig.toml").write_text(RIG)
    return root


def call(*words: object) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(build_app(), [*map(str, words), "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout)


def expected(frames: np.ndarray) -> np.ndarray:
    """The chunk in raw units from the observation on, written anew."""
    with torch.no_grad():
        chunk = Regression()(torch.from_numpy(frames)[None])[0, 1:].numpy()
    low = np.concatenate([f.low for f in SPEC.actions])
    high = np.concatenate([f.high for f in SPEC.actions])
    found: np.ndarray = (chunk + 1) / 2 * (high - low) + low
    return found


@pytest.mark.parametrize("name", ["exported", "onnx", "bundle"])
def test_its_chunk_is_the_networks_with_and_without_a_last_plan(folder: Path, name: str) -> None:
    """Where a velocity of chunk - z would be a mix: at every start that is not from noise alone."""
    contestant = open_contestant(folder / name, Choice())
    inference = contestant.inference
    frames = np.random.default_rng(0).uniform(-0.5, 0.5, (6, D)).astype(np.float32)
    plan = None
    for k, frame in enumerate(frames):
        inference.observe(k * SPEC.dt_ns, {SPEC.observations[0].name: frame})
        if k == 0:
            continue
        plan = inference.infer(k * SPEC.dt_ns, plan)
        wanted = expected(frames[k - 1 : k + 1])
        assert plan.actions.shape == wanted.shape
        assert np.allclose(plan.actions, wanted, atol=1e-5)
        assert not inference.started_warm and inference.timings.nfe == 1
    assert (contestant.t_w, contestant.nfe, contestant.draws) == (None, 1, False)
    contestant.close()


def test_its_functions_take_neither_noise_nor_time(folder: Path) -> None:
    manifest = open_bundle(folder / "bundle").manifest
    assert [x.name for x in manifest.function("act").inputs] == ["features"]
    assert manifest.time_rows == () and manifest.default.nfe == 1


@pytest.mark.parametrize(
    "options",
    [["--t-w", "0.3"], ["--noise-cold", "0.5"], ["--noise-warm", "0"], ["--cold-nfe", "4"],
     ["--guard", "5"], ["--nfe", "2"], ["--nfe", "10"]],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("name", ["exported", "bundle"])
def test_an_option_about_noise_or_times_is_refused_in_a_line(
    folder: Path, name: str, options: list[str]
) -> None:
    code, said = call("eval", folder / name, "--task", NAME, "--episodes", 1, *options)
    assert code == 1 and said["error"].startswith(options[0])
    assert "deterministic" in said["error"] and "Leave it out." in said["error"]


def test_other_commands_refuse_what_has_no_meaning(folder: Path, tmp_path: Path) -> None:
    run = ["run", folder / "bundle", "--rig", folder / "rig.toml", "--dry-run", "--duration", 1]
    compiled = ["compile", folder / "exported", "--target", "host", "-o", tmp_path / "b"]
    data = ["eval", folder / "exported", "--dataset", folder / "data"]
    for words in (
        [*run, "--guard", 3], [*run, "--noise-cold", 0], [*run, "--nfe", "auto"],
        [*compiled, "--noise-warm", 0], [*compiled, "--nfe", 4], [*data, "--samples", 4],
        [*data, "--t-refine", 0.5], ["tune", folder / "exported"],
        ["modes", folder / "bundle", "--chunks", 20, "--noise-cold", 0.5],
    ):  # fmt: skip
        code, said = call(*words)
        assert code == 1 and "deterministic" in said["error"], words
    assert not (tmp_path / "b").exists()


def test_a_run_is_replayed_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.mcap"
    request = Request(folder / "bundle", folder / "rig.toml", log=log)
    with open_session(read_run(request)) as session:
        session.loop.run(Limits(duration_s=1.0))
        said = run_document(session, request, False)
    assert said["start"] is None and said["nfe"] == 1
    code, said = call("replay", log, "--bundle", folder / "bundle")
    assert code == 0 and said["same"] and said["chunks_same"] == said["chunks"] > 0
    code, said = call("replay", log, "--bundle", folder / "other")
    assert code == 1 and said["chunks_same"] == 0


def test_it_is_evaluated_on_episodes_and_on_recorded_ones(folder: Path, tmp_path: Path) -> None:
    code, said = call("eval", folder / "exported", "--task", NAME, "--episodes", 2, "--workers", 1)
    assert code == 0 and (said["nfe"], said["start"], said["t_w"]) == (1, None, None)
    documents = [
        call("eval", folder / name, "--dataset", folder / "data", "-o", tmp_path / f"{name}.html")
        for name in ("onnx", "bundle")
    ]
    for code, said in documents:
        assert code == 0, said
        assert said["start"] is None and said["recorded"]["samples"] == 1
        assert [x["start"] for x in said["recorded"]["runs"]] == ["deterministic"]
    assert "none: deterministic" in (tmp_path / "bundle.html").read_text()
    errors = [said["recorded"]["runs"][0]["error"] for _, said in documents]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_modes_are_measured_without_noise(folder: Path) -> None:
    code, said = call("modes", folder / "exported", "--chunks", 40)
    assert code == 0 and said["noise"] is None and said["nfe"] == 1


def test_it_is_profiled_and_inspected(folder: Path, tmp_path: Path) -> None:
    code, said = call("profile", folder / "bundle", "--duration", 0.2, "-o", tmp_path / "r.html")
    assert code == 0, said
    for name in ("bundle", "exported"):
        code, said = call("inspect", folder / name)
        assert code == 0 and said["start"] is None and said["time_rows"] == []


def test_there_is_nothing_to_distil(folder: Path, tmp_path: Path) -> None:
    code, said = call("distill", folder / "exported", folder / "data", "-o", tmp_path / "p")
    assert code == 1 and "nothing to distil" in said["error"]


def test_a_policy_that_has_no_noise_states_no_start(folder: Path) -> None:
    config = load_policy(folder / "exported").config.to_json()
    quiet = {"cold_nfe": None, "noise_cold": 0.5, "noise_warm": 1.0}
    for change in ({"time_rows": [["cold", 0.0, 1.0]]}, {"refine": True}, {"start": quiet}):
        with pytest.raises(PolicyError, match="deterministic"):
            PolicyConfig.from_json({**config, **change})
    manifest = open_bundle(folder / "bundle").manifest.to_json()
    with pytest.raises(BundleError, match=r"time_row.*expected none|inputs of act"):
        act = manifest["functions"][-1]
        noise = {**act["inputs"][0], "name": "z", "role": "noise", "source": None,
                 "shape": [1, SPEC.horizon * SPEC.action_dim]}  # fmt: skip
        functions = [*manifest["functions"][:-1], {**act, "inputs": [*act["inputs"], noise]}]
        read_manifest({**manifest, "functions": functions})
    with pytest.raises(BundleError, match="deterministic"):
        read_manifest({**manifest, "start": quiet})


def test_a_program_that_draws_noise_or_is_blind_is_refused(tmp_path: Path) -> None:
    class Draws(Regression):
        def forward(self, observations: Tensor) -> Tensor:
            return super().forward(observations) + torch.rand(1, SPEC.horizon, SPEC.action_dim)

    class Blind(Regression):
        def forward(self, observations: Tensor) -> Tensor:
            return super().forward(observations * 0)

    for module, says in ((Draws(), "draws noise"), (Blind(), "whatever it sees")):
        with pytest.raises((CheckFailed, OfpError), match=says):
            import_program("exported", *write_program(tmp_path, "exported", module))
