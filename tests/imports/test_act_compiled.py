"""LeRobot's ACT on its way to an edge computer: its dataset, quantised, compiled, evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("onnxruntime")
pytest.importorskip("zarr")

from ofp_edge.bundle import open_bundle
from ofp_edge.cli.main import build_app
from ofp_edge.errors import PolicyError
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.targets.tensorrt_graph import check_graph
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from tests.imports.act_fixtures import MOMENTS, answers, checkpoint, seen
from tests.needs import needs_engines
from tests.synthetic import write_raw

pytestmark = pytest.mark.usefixtures("exports")

RATE_HZ, EPISODES, STEPS = 30.0, 4, 20


def write_dataset(path: Path) -> Path:
    """What the checkpoint `small` could have been trained on."""
    rng = np.random.default_rng(0)
    sizes = {"state": 6, "environment_state": 5}
    wide = {
        n: {"low": [-3.0] * n, "high": [3.0] * n, "unit": "rad", "frame": "base"} for n in (5, 6)
    }
    fields = [{"name": x, "kind": "state", "shape": [n], **wide[n]} for x, n in sizes.items()]
    action = {"name": "joints", "shape": [6], "kind": "absolute", "scale": 1.0, **wide[6]}
    count = EPISODES * STEPS
    arrays = {
        "state": rng.uniform(-1, 1, (count, sum(sizes.values()))).astype(np.float32),
        "action": rng.uniform(-2, 2, (count, 6)).astype(np.float32),
    }
    attrs: dict[str, Any] = {
        "schema_version": 1, "task": None, "control_hz": RATE_HZ, "observations": fields,
        "actions": [action], "cameras": {}, "seeds": list(range(EPISODES)),
        "success": [True] * EPISODES, "collector": {"noise": 0.0, "depth_by": "synthetic"},
    }  # fmt: skip
    write_raw(path, attrs, arrays, np.arange(STEPS, count + 1, STEPS))
    return path


def call(*words: object) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(build_app(), [*map(str, words), "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, its dataset, the policy, and it in int8."""
    needs_engines()
    root = tmp_path_factory.mktemp("act")
    checkpoint("small", root)
    data = write_dataset(root / "data.zarr")
    code, said = call(
        "import", "--lerobot", root / "small", "--dataset", data, "-o", root / "float"
    )
    assert code == 0, said
    assert (said["method"], said["predicts"], said["nfe"]) == ("deterministic", "chunk", 1)
    assert said["spec"]["observations"][1]["unit"] == "rad"
    code, said = call("quantize", root / "float", "--calibration", data, "-o", root / "int8")
    assert code == 0, said
    return root


def test_recorded_episodes_judge_it(folder: Path) -> None:
    for name in ("float", "int8"):
        code, said = call("eval", folder / name, "--dataset", folder / "data.zarr")
        assert code == 0 and said["start"] is None and said["recorded"]["samples"] == 1
        assert said["precision"] == ("fp32" if name == "float" else "int8")


def test_there_is_nothing_to_distil_and_nothing_to_train(folder: Path, tmp_path: Path) -> None:
    for distil, says in ((True, "nothing to distil"), (False, "imported from LeRobot, which trai")):
        with pytest.raises(PolicyError, match=says):
            make_plan(Request(folder / "data.zarr", tmp_path / "t", init=folder / "float",
                              distill=distil))  # fmt: skip


@pytest.mark.slow
def test_its_bundle_answers_as_lerobot_does(folder: Path, tmp_path: Path) -> None:
    """The real exporters; TensorRT's operator table has all that stands in the graphs."""
    code, said = call(
        "compile", folder / "int8", "--target", "arm-cpu", "-o", tmp_path / "bundle",
        "--leave-out", "executorch:int8",
    )  # fmt: skip
    assert code == 0, said
    bundle = open_bundle(tmp_path / "bundle")
    manifest, expected = bundle.manifest, answers(folder / "small")["chunk"].numpy()
    assert manifest.deterministic and not manifest.function("act").takes("noise")
    for item in manifest.artefacts:
        if item.engine == "onnxruntime":
            check_graph(bundle.read(item.file), item.precision, item.file)
    for engine in ("onnxruntime", "executorch"):
        inference = load_inference(bundle, engine, "fp32")
        frames = [x[:, 0].numpy() for x in seen_of(folder)]
        for k in range(MOMENTS):
            named = zip(manifest.spec.observations, frames, strict=True)
            inference.observe(k * manifest.spec.dt_ns, {f.name: x[k] for f, x in named})
            chunk = inference.infer(k * manifest.spec.dt_ns).actions
            assert np.abs(chunk - expected[k]).max() < 1e-4
        inference.close()


def seen_of(folder: Path) -> list[torch.Tensor]:
    from ofp_edge.policy.folder import load_policy

    return seen(load_policy(folder / "float"), folder / "small")
