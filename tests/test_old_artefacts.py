"""What version 0.1 wrote opens, and answers as it did: docs/compatibility.md promises it.

tests/fixtures/write_artefacts.py wrote the folder, by the code of then; it is never written again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

for _module in ("torch", "zarr", "onnxruntime"):
    pytest.importorskip(_module)

from ofp_edge.bundle import open_bundle  # noqa: E402
from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.errors import OfpError  # noqa: E402
from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.contestant import open_contestant  # noqa: E402
from ofp_edge.files import sha256_file  # noqa: E402
from ofp_edge.rig.file import read_rig  # noqa: E402
from ofp_edge.runtime.log.reader import LogReader  # noqa: E402
from tests.fixtures.write_artefacts import ANSWERS, chunks  # noqa: E402
from tests.fuzz.bundle import reseal  # noqa: E402
from tests.needs import needs_engines  # noqa: E402

OLD = Path(__file__).parent / "fixtures/version-0.1"
SAID = json.loads((OLD / ANSWERS).read_text())
POLICIES = sorted(path.name for path in (OLD / "policies").iterdir())
BUNDLES = sorted(path.name for path in (OLD / "bundles").iterdir())
# Of the largest action: float32 on another processor, and a step of int8 that falls otherwise.
_FLOAT, _INT8 = 1e-3, 0.05


def ofp(*words: object, code: int = 0) -> Any:
    """The document of `ofp-edge WORDS --json`."""
    result = CliRunner().invoke(build_app(), [*map(str, words), "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", SAID)
def test_a_policy_and_each_engine_of_a_bundle_answers_as_it_did(name: str) -> None:
    """A bundle's engine loads only where it gives the golden outputs."""
    path, engine, precision = name.split()
    if path.startswith("bundles/"):
        needs_engines()
    choice = Choice(
        engine=None if engine == "None" else engine,
        precision=None if precision == "None" else precision,
    )
    contestant = open_contestant(OLD / path, choice)
    got = np.asarray(chunks(contestant.inference))
    contestant.close()
    wanted = np.asarray(SAID[name])
    assert got.shape == wanted.shape
    share = _FLOAT if precision in ("fp32", "None") else _INT8
    np.testing.assert_allclose(got, wanted, rtol=0, atol=share * np.abs(wanted).max())


def test_nothing_is_left_out() -> None:
    assert {name.split()[0] for name in SAID} == {
        *(f"policies/{name}" for name in POLICIES), *(f"bundles/{name}" for name in BUNDLES),
    }  # fmt: skip
    pairs = {tuple(name.split()) for name in SAID if name.startswith("bundles/")}
    for bundle in ("host", "arm-cpu"):
        for engine in ("onnxruntime", "executorch"):
            for precision in ("fp32", "int8"):
                assert (f"bundles/{bundle}", engine, precision) in pairs


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_whole_and_inspects(name: str) -> None:
    bundle = open_bundle(OLD / "bundles" / name)
    manifest = bundle.manifest
    for item in (*manifest.artefacts, *manifest.files):
        assert bundle.read(item.file)  # held against its hash
    assert {a.function for a in manifest.artefacts} == {"encode", "act"}
    shown = ofp("inspect", OLD / "bundles" / name)
    assert (shown["kind"], shown["sha256"]) == ("bundle", bundle.sha256)
    assert shown["target"] == {
        "arm-cpu": "arm-cpu", "jetson-orin": "jetson-orin",
    }.get(name, "host")  # fmt: skip


def test_a_bundle_for_an_orin_has_its_graphs_for_both_engines() -> None:
    artefacts = open_bundle(OLD / "bundles/jetson-orin").manifest.artefacts
    files = {
        engine: {(a.function, a.precision): a.sha256 for a in artefacts if a.engine == engine}
        for engine in ("tensorrt", "onnxruntime")
    }
    assert files["tensorrt"] == files["onnxruntime"]
    assert {precision for _, precision in files["tensorrt"]} == {"fp32", "fp16", "int8"}


@pytest.mark.parametrize(("name", "trunk", "recipe", "layers"), [
    ("planar", "mlp", None, 0), ("planar-int8", "mlp", "int8", 7),
    ("points-unet", "unet", "int8", None), ("rgb-transformer", "transformer", None, 0),
    ("imported-exported", "program", None, 0),
    ("imported-onnx", "program", None, 0), ("imported-lerobot", "denoiser", None, 0),
])  # fmt: skip
def test_a_policy_says_what_it_is(
    name: str, trunk: str, recipe: str | None, layers: int | None
) -> None:
    shown = ofp("inspect", OLD / "policies" / name)
    provenance = shown["provenance"]
    assert (shown["kind"], provenance["trunk"], provenance["recipe"]) == ("policy", trunk, recipe)
    assert len(shown["layers"]) == layers if layers is not None else shown["layers"]
    if name == "planar-int8":
        assert provenance["gate"]["passed"] and provenance["task"] == "planar/obstacle"


def test_a_program_is_read_where_nothing_has_loaded_torch_s_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from ofp_edge.policy.imported.archive import clean_archive

    monkeypatch.delattr(torch._export, "serde", raising=False)
    assert clean_archive((OLD / "policies/imported-exported/program.pt2").read_bytes(), "program")


def test_samples_of_a_plan_and_of_a_file_are_read() -> None:
    from ofp_edge.calibration.samples import read_samples
    from ofp_edge.quantize.inputs import calibration_windows
    from ofp_edge.quantize.plan import read_plan

    folder, samples = OLD / "policies/planar-int8", OLD / "datasets/calibration.npz"
    spec = open_bundle(OLD / "bundles/host").spec
    read = read_samples(samples, spec)
    assert (len(read.samples), len(calibration_windows(folder, spec, 24))) == (48, 24)
    plan = read_plan(folder)
    assert plan is not None and plan.calibration_sha256 == sha256_file(samples)


def test_what_a_run_recorded_gives_samples(tmp_path: Path) -> None:
    chosen = ofp(
        "calibrate", "samples", OLD / "datasets/recorded.npz", "--policy", OLD / "policies/planar",
        "--samples", 4, "-o", tmp_path / "samples.npz",
    )  # fmt: skip
    assert chosen["samples"] == 4


def test_datasets_are_what_they_were() -> None:
    planar = ofp("data", "info", OLD / "datasets/planar.zarr")
    assert (planar["layout"], planar["episodes"], planar["task"]) == (
        "ofp-edge", 12, "planar/obstacle",
    )  # fmt: skip
    rgb = ofp("data", "info", OLD / "datasets/rgb.zarr")
    assert rgb["lengths"] == [8, 7, 6]


def test_training_goes_on_from_an_old_checkpoint(tmp_path: Path) -> None:
    shutil.copytree(OLD / "policies/unfinished", tmp_path / "p")
    done = ofp("train", OLD / "datasets/planar.zarr", "-o", tmp_path / "p", "--resume")
    assert (done["resumed_from"], done["steps"], done["interrupted"]) == (10, 20, False)


def test_every_entry_of_a_rig_is_read() -> None:
    rig = read_rig(OLD / "rigs/full.toml")
    front, wrist = rig.cameras["front"], rig.cameras["wrist"]
    assert (rig.robot.driver, rig.robot.options) == ("my_package.arm:Arm", {"port": "/dev/ttyUSB0"})
    assert (front.driver, front.max_age_ms, front.frozen_after) == ("realsense", 150.0, 7)
    assert front.options == {"serial": "839112060000"} and front.calibration["rms_px"] == 0.21
    assert (front.parameters["fx"], front.parameters["base_frame"]) == (615.3, "base")
    assert (wrist.driver, wrist.parameters["base_frame"]) == ("v4l2", "tool")
    timing, safety, engine = rig.timing, rig.safety, rig.engine
    assert (timing.latency_ms, timing.max_plan_age_ms) == (50.0, 300.0)
    assert (timing.cross_fade_steps, timing.max_skew_ms) == (2, 80.0)
    assert json.loads(json.dumps(safety.to_json())) == json.loads(
        (OLD / "rigs/full-safety.json").read_text()
    )
    assert engine is not None and (engine.name, engine.precision) == ("executorch", "int8")
    assert engine.threads == 2 and engine.picked["table"] == [
        {"engine": "executorch", "p50_ms": 1.5}
    ]
    assert (rig.realtime.priority, rig.realtime.cpu) == (70, 3)
    assert rig.realtime.wakeup_budget_us == 500.0


def test_an_old_bundle_runs_by_an_old_rig() -> None:
    words = ("run", OLD / "bundles/host", "--rig", OLD / "rigs/planar.toml", "--duration", 1)
    result = CliRunner().invoke(build_app(), [*map(str, words), "--json"])
    report = json.loads(result.stdout)
    assert (report["engine"], report["precision"]) == ("onnxruntime", "int8"), report
    assert report["ticks"] > 0


@pytest.mark.parametrize(("log", "bundle", "share"), [
    ("planar", "host", _INT8), ("points", "arm-cpu", _FLOAT),
])  # fmt: skip
def test_an_old_log_replays(log: str, bundle: str, share: float) -> None:
    """Bit for bit on the processor that wrote it; elsewhere within rounding."""
    path, bundle_path = OLD / f"logs/{log}", OLD / "bundles" / bundle
    result = CliRunner().invoke(
        build_app(), ["replay", str(path), "--bundle", str(bundle_path), "--json"]
    )
    report = json.loads(result.stdout)
    assert report["same_bundle"] and report["whole"], report
    rows = [row for _, row in LogReader(path).rows("/command")]
    assert report["ticks"] == len(rows) > 20 and report["chunks"] > 2
    assert report["missing_rows"] == report["files_left_out"] == 0
    largest = max(np.abs(np.asarray(answer)).max() for answer in _answers_of(bundle))
    for difference in report["differences"]:
        assert difference["what"] != "log" and not difference["detail"]
        assert difference["apart"] <= share * largest


def _answers_of(bundle: str) -> list[Any]:
    return [made for name, made in SAID.items() if name.startswith(f"bundles/{bundle} ")]


def test_pictures_in_an_old_log_are_there() -> None:
    rows = [row for _, row in LogReader(OLD / "logs/points").rows("/thumbnail/front")]
    assert len(rows) > 1
    assert (rows[0]["width"], rows[0]["height"], rows[0]["encoding"]) == (32, 24, "16UC1")


def test_profiles_and_evaluations_are_read() -> None:
    from ofp_edge.profile.summary import read_evaluation

    for name in ("profile", "profile-loop"):
        path = OLD / f"results/{name}.json"
        rows = ofp("compare", path, path)["rows"]
        assert rows and all(row["difference_ms"] == 0 for row in rows)
    evaluation = read_evaluation(OLD / "results/eval.json")
    assert (evaluation["task"], evaluation["episodes"]) == ("planar/obstacle", 3)


def test_an_old_benchmark_is_done_and_reports(tmp_path: Path) -> None:
    pytest.importorskip("metaworld")
    shutil.copytree(OLD / "results/bench", tmp_path / "bench")
    old = json.loads((tmp_path / "bench/results.json").read_text())
    words = ("bench", OLD / "results/suite.toml", "-o", tmp_path / "bench", "--any-code")
    document = ofp(*words, "--workers", 1)
    assert document["cells_done"] == document["cells"] == 2 and document["to_do"] == []
    new = json.loads((tmp_path / "bench/results.json").read_text())
    for key in ("cells", "rows", "comparisons"):
        assert new[key] == old[key]


def test_views_of_a_board_check_a_camera() -> None:
    pytest.importorskip("cv2")
    checked = ofp("calibrate", "camera", OLD / "datasets/views")
    assert checked["ok"] and checked["check"]["rms_px"] < 0.5


@pytest.mark.parametrize(("name", "file", "command"), [
    ("bundles/host", "manifest.json", "inspect"), ("policies/planar", "config.json", "inspect"),
    ("datasets/planar.zarr", ".zattrs", "data info"),
])  # fmt: skip
def test_what_a_later_version_wrote_is_refused_in_one_line(
    name: str, file: str, command: str, tmp_path: Path
) -> None:
    shutil.copytree(OLD / name, tmp_path / "later")
    path = tmp_path / "later" / file
    text = path.read_text()
    later = text.replace('"schema_version":1', '"schema_version":99')
    later = later.replace('"schema_version": 1', '"schema_version": 99')
    assert later != text
    path.write_text(later)
    if file == "manifest.json":
        reseal(tmp_path / "later")
    error = ofp(*command.split(), tmp_path / "later", code=1)["error"]
    assert "99" in error and "\n" not in error


def test_a_rig_of_a_later_version_is_refused_in_one_line(tmp_path: Path) -> None:
    later = tmp_path / "rig.toml"
    later.write_text(
        (OLD / "rigs/full.toml").read_text().replace("schema_version = 1", "schema_version = 99")
    )
    with pytest.raises(OfpError, match="schema_version: expected 1, got 99"):
        read_rig(later)
