"""A policy of several tasks, compiled: an instruction's row goes in, and no graph looks it up."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from typer.testing import CliRunner

from ofp_edge.bundle import open_bundle
from ofp_edge.cli.main import build_app
from ofp_edge.errors import BundleError, SpecMismatch, UnknownName
from ofp_edge.fields.text import instructions_of
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.run_files import Request, read_run
from ofp_edge.runtime.session import Hooks, open_session
from ofp_edge.sim.berths_task import INSTRUCTIONS
from ofp_edge.sim.collect import collect_demonstrations
from ofp_edge.targets.compile import Compiled, compile_policy
from ofp_edge.targets.tensorrt_graph import check_graph
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request as Training
from tests.needs import needs_engines
from tests.sealed import seal

MS = 1_000_000
ROWS = "task_rows.safetensors"
RIG = """
schema_version = 1
instruction_socket = "{socket}"
[robot]
driver = "ofp_edge.sim.robot:SimulatedRobot"
options = {{ task = "planar/berths", world = "told" }}
[timing]
latency_ms = 100.0
max_plan_age_ms = 400.0
[safety.limits.hand]
max_velocity = 50.0
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tasks")
    collect_demonstrations("planar/berths", 12, root / "d.zarr", observe="state")
    request = Training(root / "d.zarr", root / "p", "ofp", "tiny", 20, 16)
    train(make_plan(request))
    return root


@pytest.fixture(scope="module")
def made(root: Path, exports: None) -> Compiled:
    needs_engines()
    quantize_policy(root / "p", "int8", root / "d.zarr", root / "p8", samples=32)
    return compile_policy(root / "p8", "host", root / "bundle")


@pytest.fixture
def copied(root: Path, made: Compiled, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "bundle", tmp_path / "bundle"))


def seen(number: int) -> dict[str, Any]:
    state = np.linspace(-0.1, 0.2, 6, dtype=np.float32)
    return {"state": state, "instruction": np.array(number)}


@pytest.mark.parametrize("engine", ["onnxruntime", "executorch"])
def test_a_plan_is_the_networks_for_each_instruction(
    root: Path, made: Compiled, engine: str
) -> None:
    policy = load_policy(root / "p8")
    inference = load_inference(open_bundle(root / "bundle"), engine, "fp32", nfe=1, seed=3)
    chunks = []
    for number in range(3):
        inference.reseed(5)
        inference.observe(number * MS, seen(number))
        chunks.append(inference.infer(number * MS).normalised)
        fields = [torch.from_numpy(np.asarray(x))[None, None] for x in seen(number).values()]
        with torch.no_grad():
            features = policy.network.encode([x.expand(-1, 2, *x.shape[2:]) for x in fields])
        given = torch.from_numpy(inference.runners["act"].inputs["features"])
        torch.testing.assert_close(given, features, atol=1e-5, rtol=0)
    assert inference.prompt_id is None
    inference.close()
    assert min(np.abs(a - b).max() for a, b in zip(chunks, chunks[1:], strict=False)) > 1e-4


def test_no_graph_takes_a_number_or_looks_a_row_up(root: Path, made: Compiled) -> None:
    bundle = open_bundle(root / "bundle")
    state, row = bundle.manifest.function("encode").inputs
    assert (state.role, row.role, row.shape, row.dtype) == (
        "observation",
        "task",
        (1, 32),
        "float32",
    )
    assert [x.file for x in bundle.manifest.files if x.role == "tasks"] == [ROWS]
    for name, exported in made.exported.items():
        assert exported.delegates in (None, 1) and not exported.left_out, name
        if name.endswith(".onnx"):
            assert "Gather" not in exported.operations
        if name.endswith("fp32.onnx"):
            assert check_graph(bundle.read(name), "fp32", name) == []


def test_an_instruction_beyond_the_list_is_refused(root: Path, made: Compiled) -> None:
    inference = load_inference(open_bundle(root / "bundle"), "onnxruntime", "fp32")
    with pytest.raises(SpecMismatch, match=r"expected an instruction of 0\.\.2, got 3"):
        inference.observe(0, seen(3))
    inference.close()


def test_calibration_samples_are_of_every_instruction(root: Path, made: Compiled) -> None:
    with np.load(root / "p8/calibration.npz") as found:
        assert set(found["observation/instruction"].reshape(-1).tolist()) == {0, 1, 2}


def rewritten(values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / ROWS).write_bytes(save({"rows": np.asarray(values, np.float32)}))
        seal(path)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (rewritten(np.zeros((2, 32))), r"expected 3 rows of 32 numbers, got \(2, 32\)"),
        (rewritten(np.zeros((3, 31))), r"expected 3 rows of 32 numbers, got \(3, 31\)"),
        (rewritten(np.full((3, 32), np.nan)), "holds NaN or infinity"),
        (lambda p: (p / ROWS).write_bytes(b"x" * 99999) and seal(p), "expected at most|larger"),
        (lambda p: (p / ROWS).unlink(), f"{ROWS} is missing"),
        (lambda p: seal(p, lambda v: v["files"].pop(-2)), r"files: expected .*task_rows.* 'tasks'"),
        (lambda p: seal(p, lambda v: v["functions"][0]["inputs"][1].update(role="observation")),
         r"observations\[1\]: expected"),
        (lambda p: seal(p, lambda v: v["functions"][1]["inputs"].append(
            {**v["functions"][0]["inputs"][1], "name": "again"})), "role 'task'|inputs of act"),
    ],
)  # fmt: skip
def test_another_table_is_refused_in_a_line(
    copied: Path, change: Callable[[Path], None], says: str
) -> None:
    change(copied)
    with pytest.raises(BundleError, match=says) as caught:
        load_inference(open_bundle(copied), "onnxruntime", "fp32")
    assert "\n" not in str(caught.value)


def test_a_run_that_is_told_another_task_is_replayed_bit_for_bit(
    root: Path, made: Compiled, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    (tmp_path / "rig.toml").write_text(RIG.format(socket=words))
    log = tmp_path / "run.mcap"

    ticks = itertools.count()

    def tell(report: Any, command: Any) -> None:
        if next(ticks) == 10:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.sendto(INSTRUCTIONS[2].encode(), str(words))

    request = Request(root / "bundle", tmp_path / "rig.toml", log=log, instruction=INSTRUCTIONS[1])
    with open_session(read_run(request), hooks=Hooks(on_tick=tell)) as session:
        session.loop.run(Limits(duration_s=1.5))
    plans = [row for _, row in LogReader(log).rows("/plan")]
    numbers = [row["instruction_id"] for row in plans]
    first = numbers.index(2)
    assert numbers == [1] * first + [2] * (len(numbers) - first) and first > 1
    assert plans[first]["warm_from_ns"] is None
    command = ["replay", str(log), "--bundle", str(root / "bundle"), "--json"]
    document = json.loads(CliRunner().invoke(build_app(), command).stdout)
    assert document["same"] and document["chunks"] == len(plans) > 0


def test_a_task_that_is_not_in_the_list_is_one_line(
    root: Path, made: Compiled, tmp_path: Path
) -> None:
    (tmp_path / "rig.toml").write_text(RIG.format(socket=tmp_path / "words"))
    files = root / "bundle", tmp_path / "rig.toml"
    with pytest.raises(UnknownName, match="Did you mean 'dock at the left berth'"):
        read_run(Request(*files, instruction="dock at the lft berth"))
    with pytest.raises(SpecMismatch, match="one of 3 instructions: 'dock at the left berth'"):
        read_run(Request(*files))
    assert len(instructions_of(open_bundle(root / "bundle").spec.observations)) == 3


def test_a_service_is_not_written_for_a_rig_that_tells_it_nothing(
    root: Path, made: Compiled, tmp_path: Path
) -> None:
    """The unit could not start, and nobody would be there."""
    rig, unit = tmp_path / "rig.toml", tmp_path / "x.service"
    words = ["service", str(root / "bundle"), "--rig", str(rig), "-o", str(unit)]
    text = RIG.format(socket=tmp_path / "told")
    for line, says in (("", "State instruction in the rig"), ('instruction = "fly"', "'fly'")):
        rig.write_text(line + text)
        said = CliRunner().invoke(build_app(), words)
        assert said.exit_code == 1 and says in said.stderr and not unit.exists(), said.output
    rig.write_text(f"instruction = {INSTRUCTIONS[0]!r}" + text)
    assert CliRunner().invoke(build_app(), words).exit_code == 0 and unit.exists()
