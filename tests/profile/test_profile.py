from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.cli import profile as profile_command
from ofp_edge.errors import CameraError, OfpError
from ofp_edge.profile.bench import Bench, SyntheticCamera
from ofp_edge.profile.latency import LatencyStatistics
from ofp_edge.profile.measure import Measured, measure
from ofp_edge.profile.open import open_bench
from ofp_edge.profile.report import render
from ofp_edge.profile.summary import read_evaluation, summarise
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.report.svg import Scale, histogram, timeline
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.infer.engine_choice import EngineChoice
from ofp_edge.runtime.observer import Observer
from ofp_edge.start import Start
from tests.rendering import opened, require_readable
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.synthetic import CAMERA


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile") / "small"
    return write_small_bundle(folder, make_spec(points=True, n_obs_steps=2), {"front": CAMERA})


@pytest.fixture(scope="module")
def measured(bundle_folder: Path) -> Measured:
    bundle = open_bundle(bundle_folder)
    with open_bench(bundle, EngineChoice("onnxruntime", "fp32", 1), None) as bench:
        return measure(bench, 0.5)


def evaluation(**changes: Any) -> dict[str, Any]:
    return {
        "evaluated": "bundles/door", "sha256": "0", "task": "metaworld/door-open", "episodes": 200,
        "success": 0.97, "interval": [0.936, 0.986], "engine": "onnxruntime", "precision": "int8",
        "frames": "own", "nfe": 1, "latency_ms": 50.0, **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def values(bundle_folder: Path, measured: Measured) -> dict[str, Any]:
    rows = [evaluation(), evaluation(frames="other", success=0.25, evaluated="a<script>b")]
    return summarise(
        open_bundle(bundle_folder), measured, engine="onnxruntime", precision="fp32", threads=1,
        rig=None, evaluations=rows, report=Path("report.html"),
    )  # fmt: skip


def test_percentiles_and_jitter_are_of_the_samples() -> None:
    found = LatencyStatistics.of_ns(np.arange(1, 10_001, dtype=np.int64) * 1_000_000)
    assert (found.samples, found.max) == (10_000, 10_000)
    assert found.p50 == pytest.approx(5000.5) and found.p99_9 == pytest.approx(9990, abs=1)
    assert found.jitter == pytest.approx(found.p99_9 - found.p50)


def test_measures_every_stage_and_the_bare_engine_in_the_same_rounds(measured: Measured) -> None:
    assert list(measured.stages) == ["preprocess", "encode", "act", "postprocess"]
    counts = {len(x) for x in measured.stages.values()}
    assert counts == {measured.rounds} == {len(measured.engine)} and measured.rounds > 50
    stages = measured.stages
    assert (0 < measured.overhead).all() and (measured.overhead < stages["act"]).all()
    assert (measured.act_engine < measured.engine).all()
    np.testing.assert_array_equal(
        measured.capture_to_ready, stages["preprocess"] + stages["encode"] + stages["act"]
    )
    assert measured.warm_up_rounds > 0 and set(measured.first_ns) == set(stages)


def test_a_dearer_cold_start_is_measured_and_given_a_latency_of_its_own(tmp_path: Path) -> None:
    start = Start(cold_nfe=4)
    bundle = open_bundle(write_small_bundle(tmp_path / "b", make_spec(), {}, start=start))
    with open_bench(bundle, EngineChoice("onnxruntime", "fp32", 1), None) as bench:
        measured = measure(bench, 0.3)
    stages = measured.stages
    assert list(stages) == ["preprocess", "encode", "cold start", "act", "postprocess"]
    assert 0 < len(stages["cold start"]) < len(stages["act"]) / 8
    assert np.median(stages["cold start"]) > np.median(stages["act"])
    np.testing.assert_array_equal(
        measured.capture_to_ready, stages["preprocess"] + stages["encode"] + stages["act"]
    )
    values = summarise(
        bundle, measured, engine="onnxruntime", precision="fp32", threads=1, rig=None,
        evaluations=[], report=Path("report.html"),
    )  # fmt: skip
    assert values["proposed_cold_latency_ms"] >= values["proposed_latency_ms"]
    assert "cold start" in render(values, measured)


class LateNowAndThen(SyntheticCamera):
    """Frames of a machine that is busy: for `late_s` of each 0.1 s they are 40 ms old."""

    late_s = 0.05

    def read(self, timeout_ms: float) -> Frame:
        frame = super().read(timeout_ms)
        late = time.monotonic() % 0.1 < self.late_s
        return replace(frame, t_capture_ns=frame.t_capture_ns - 40_000_000 * late)


def watched(bundle: Bundle, camera: SyntheticCamera, bench: Bench) -> None:
    """Let the bench look at this camera, whose frames are of no use after 20 ms."""
    tolerance, cameras = bundle.manifest.camera_tolerance, {"front": camera}
    bench.cameras, bench.real_cameras = cameras, True
    bench.observer = Observer(bundle.spec, cameras, {}, tolerance, {"front": 20_000_000})


def test_frames_that_come_too_late_now_and_then_end_no_measurement(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder)
    with open_bench(bundle, EngineChoice("onnxruntime", "fp32", 1), None) as bench:
        watched(bundle, LateNowAndThen(CAMERA), bench)
        found = measure(bench, 0.5)
        assert bench.observer.counters.stale > 0
    assert found.rounds > 10 and found.stages["camera"].max() < 25e6


def test_a_camera_whose_frames_are_all_late_is_said_to_be_late_and_not_silent(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ofp_edge.profile.bench.PATIENCE_S", 0.3)
    bundle, camera = open_bundle(bundle_folder), LateNowAndThen(CAMERA)
    camera.late_s = 1.0
    with open_bench(bundle, EngineChoice("onnxruntime", "fp32", 1), None) as bench:
        watched(bundle, camera, bench)
        with pytest.raises(CameraError, match=r"^front: .* 0\.3 s: \d+ came, each older than"):
            measure(bench, 0.5)


def test_the_document_proposes_whole_milliseconds_and_says_what_it_lacks(
    values: dict[str, Any],
) -> None:
    ready_ms = values["capture_to_ready_ms"]["p99_9"]
    assert ready_ms <= values["proposed_latency_ms"] < ready_ms + 1
    notes = " ".join(values["notes"])
    assert "Synthetic depth frames" in notes and "Not a verdict" in notes
    assert values["engine_ms_p50"] > 0 and values["stages"]["act"]["p50"] > 0
    assert values["proposed_cold_latency_ms"] is None  # a cold start is as dear as another
    planned = values["schedule"]
    assert planned["latency_ms"] == values["proposed_latency_ms"]
    assert planned["have"] == {"horizon": 8, "n_action_steps": 4, "committed_steps": None}
    assert 0 < planned["busy_share"] and planned["busy_ms"] > 0
    json.dumps(values, allow_nan=False)


def test_the_report_fetches_nothing_and_escapes_what_it_shows(
    values: dict[str, Any], measured: Measured
) -> None:
    html = render(values, measured)
    assert not re.search(r"(https?:)?//\w", html) and "<script" not in html
    assert not re.search(r"<(link|img|iframe|object)|@import|url\(|\bsrc=", html)
    assert "tests &lt;&amp;&gt;" in html and "97.0 %" in html and "another’s" in html
    assert html.count("<svg") == 2 * (len(values["stages"]) + 1)


def test_the_report_opens_in_a_browser_without_a_network_request(
    values: dict[str, Any], measured: Measured, chromium: str, tmp_path: Path
) -> None:
    text, page = render(values, measured), tmp_path / "report.html"
    page.write_text(text, encoding="utf-8")
    dom, hosts = opened(chromium, page, tmp_path)
    assert "capture to ready" in dom and dom.rstrip().endswith("</html>") and not hosts
    spoiled = text.replace("</main>", "<img src='http://elsewhere.test/x.png'></main>")
    page.write_text(spoiled, encoding="utf-8")
    _, hosts = opened(chromium, page, tmp_path)
    assert hosts == {"elsewhere.test"}, "this test would not notice a request"


def test_plots_survive_one_sample_and_equal_samples() -> None:
    for data in (np.array([5_000]), np.full(100, 7_000), np.array([0, 0, 10**9])):
        assert "nan" not in histogram(data, "x") + timeline(data, 1.0, "x")


def test_ticks_are_round_and_inside() -> None:
    assert Scale(0.0, 1.0).ticks() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert Scale(0.02, 30.0, logarithmic=True).ticks() == [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    assert Scale(0.01, 1.0, logarithmic=True).share(0.1) == pytest.approx(0.5)


def test_the_fingerprint_names_the_machine() -> None:
    found = fingerprint(3)
    assert found["cpu"] and found["cores"] >= 1 and found["threads"] == 3
    assert found["versions"]["numpy"] == np.__version__
    json.dumps(found, allow_nan=False)


def test_something_that_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"success": 1}')
    with pytest.raises(OfpError, match="not an evaluation"):
        read_evaluation(path)
    path.write_text(json.dumps(evaluation()))
    assert read_evaluation(path)["success"] == 0.97
    path.write_text(json.dumps({**evaluation(), "success": None, "recorded": {}}))
    with pytest.raises(OfpError, match="against recorded episodes, which has no success"):
        read_evaluation(path)


def test_a_new_stage_file_becomes_a_row(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "extra.py").write_text(
        "class Stage:\n"
        "    name, order, counts = 'extra', 25, False\n"
        "    def __init__(self, bench): pass\n"
        "    def measure(self): return 1000\n"
    )
    import ofp_edge.profile.stages as stages

    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(tmp_path)])
    with open_bench(
        open_bundle(bundle_folder), EngineChoice("onnxruntime", "fp32", 1), None
    ) as bench:
        names = list(measure(bench, 0.1).stages)
    assert names == ["preprocess", "extra", "encode", "act", "postprocess"]


def test_the_command_writes_report_and_document(
    bundle_folder: Path, tmp_path: Path, chromium: str
) -> None:
    app = typer.Typer()
    profile_command.add(app)
    app.callback()(lambda: None)
    (tmp_path / "eval.json").write_text(json.dumps(evaluation()))
    out = tmp_path / "report.html"
    arguments = ["profile", str(bundle_folder), "--duration", "0.3", "-o", str(out), "--json"]
    arguments += ["--evaluation", str(tmp_path / "eval.json")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document) == set(profile_command.KEYS)
    assert document["evaluations"][0]["success"] == 0.97 and "97.0 %" in out.read_text()
    require_readable(chromium, out, tmp_path)
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1 and "exists" in json.loads(again.stdout)["error"]
    text = CliRunner().invoke(app, [*arguments[:-3], "--force"]).stdout
    assert "proposed L" in text and max(len(line) for line in text.splitlines()[:-1]) <= 80
