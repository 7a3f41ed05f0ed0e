"""The whole loop, measured while it runs: the chain has no gap, and the verdict no false weight."""

import json
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from ofp_edge.cli import compare as compare_command
from ofp_edge.cli import profile_loop as command
from ofp_edge.errors import OfpError
from ofp_edge.profile.compare import between, beware, compare, read_profile
from ofp_edge.profile.latency import (
    PERCENTILES,
    LatencyStatistics,
    intervals_of,
    proposed_latency_ms,
)
from ofp_edge.profile.loop_probe import LINKS, LoopProbe
from tests.rendering import require_readable
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.runtime.still import RIG
from tests.synthetic import CAMERA

MS = 1_000_000


@pytest.fixture(scope="module")
def rig_and_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop")
    rig = folder / "rig.toml"
    rig.write_text(RIG)
    spec = make_spec(points=True, horizon=100, n_action_steps=2)  # patient: test machines are busy
    return rig, write_small_bundle(folder / "small", spec, {"front": CAMERA})


def run(*arguments):
    app = typer.Typer()
    command.add(app)
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def values(rig_and_bundle, tmp_path_factory):
    rig, bundle = rig_and_bundle
    report = tmp_path_factory.mktemp("out") / "loop.html"
    done = run(bundle, "--rig", rig, "--duration", 4, "-o", report, "--budget-ms", 5000, "--json")
    assert done.exit_code == 0, done.output
    return {**json.loads(done.stdout), "html": report.read_text()}


def test_the_page_is_readable(values, chromium, tmp_path):
    page = tmp_path / "loop.html"
    page.write_text(values["html"])
    require_readable(chromium, page, tmp_path)


def test_the_links_add_up_to_the_way_from_camera_to_action(values):
    stages = values["stages"]
    assert set(LINKS) < set(stages)
    total = sum(stages[name]["mean"] for name in LINKS)
    assert total == pytest.approx(stages["camera to action"]["mean"], rel=1e-6)
    assert stages["exposure to arrival"]["p50"] >= 3  # what the camera was built to take
    assert stages["send"]["p50"] >= 1
    assert stages["camera to action"]["p50"] >= 50  # L
    assert min(stages[name]["p50"] for name in LINKS if name != "wait for the slot") >= 0
    assert stages["tick late"]["samples"] == values["ticks"] > 5


def test_a_short_run_is_no_verdict_and_says_how_long_one_takes(values):
    assert values["verdict"] is False and values["within_budget"] is True
    assert re.search(r"Not a verdict: \d+ ticks .* --duration 502", " ".join(values["notes"]))


def test_the_start_stands_apart_and_a_latency_is_proposed(values):
    cold = values["cold_start"]
    assert cold["open_s"] > 0 and cold["first_camera_to_action_ms"] > 0
    assert values["proposed_latency_ms"] % 1 == 0
    assert values["cameras"] == {"front": {"metadata absent": 1}}


def test_the_report_shows_every_series_twice_and_fetches_nothing(values):
    html = values["html"]
    assert html.count("Histogram of") == html.count("Course of") == len(values["stages"])
    assert "Not a verdict" in html and "budget 5000 ms" in html
    assert not re.search(r"(https?:)?//\w", html) and "<script" not in html


def test_a_missed_budget_is_exit_code_1_with_the_document(rig_and_bundle, tmp_path):
    rig, bundle = rig_and_bundle
    done = run(bundle, "--rig", rig, "--duration", 0.6, "-o", tmp_path / "x.html",
               "--budget-ms", 0.5, "--json")  # fmt: skip
    assert done.exit_code == 1
    assert json.loads(done.stdout)["within_budget"] is False


def test_only_a_plans_first_action_is_followed_and_the_warm_up_is_left_out(monkeypatch):
    probe = LoopProbe()
    for tick in range(6):
        t_obs = 1000 * MS + 100 * MS * (tick // 3)
        now = t_obs + (40 + 20 * (tick % 3)) * MS
        if tick % 3 == 0:
            probe.arrivals.add(t_obs, t_obs + 5 * MS)
            probe.prepared.add(t_obs, t_obs + 6 * MS, t_obs + 9 * MS)
            probe.write("/observation", t_obs, observe_ns=4 * MS)
            probe.write("/plan", t_obs, ready_ns=t_obs + 20 * MS)
            probe.write("/plan", t_obs, ready_ns=t_obs + 30 * MS)  # refined
        for moment, t_ns in (("step", 0), ("stepped", 1), ("send", 1), ("sent", 3)):
            monkeypatch.setattr("time.monotonic_ns", lambda at=now + t_ns * MS: at)
            probe.mark(moment)
        probe.write("/command", now, tick_ns=now, woke_ns=now + MS, t_obs_ns=t_obs, sent=True)
    series = {name: (values / MS).tolist() for name, values in probe.series(0).items()}
    assert series["camera to action"] == [43, 43] and series["capture to ready"] == [20, 20]
    assert [series[name][0] for name in LINKS] == [5, 1, 3, 4, 7, 20, 1, 2]
    assert series["tick late"] == [1] * 6
    assert len(probe.series(1050 * MS)["camera to action"]) == 1
    assert (probe.out_of_slot(2 * MS), probe.out_of_slot(MS)) == (0, 6)


def test_an_interval_holds_the_true_percentile_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(60):
        low, high = intervals_of(rng.exponential(size=2000))["p50"]
        hits += low <= np.log(2) <= high
    assert 50 <= hits <= 60
    assert intervals_of(np.arange(100.0)) == {}


def test_slow_stretches_widen_the_interval():
    rng = np.random.default_rng(1)
    alone = rng.normal(10, 1, 5000)
    together = np.sort(alone.reshape(50, 100), axis=None).reshape(50, 100)[rng.permutation(50)]
    width = {k: np.diff(intervals_of(v.ravel())["p50"])[0] for k, v in
             {"alone": alone, "together": together}.items()}  # fmt: skip
    assert width["together"] > 3 * width["alone"]


def test_a_proposed_latency_is_whole_milliseconds_not_steps():
    assert [proposed_latency_ms(ms) for ms in (0.1, 20.0, 20.1)] == [1, 20, 21]


def profile_of(values_ms, **changes):
    row = LatencyStatistics.of_ns((np.asarray(values_ms) * 1e6).astype(np.int64)).to_json()
    machine = {"cpu": "x", "threads": 1}
    return {"stages": {"act": row, "send": row}, "fingerprint": machine, **changes}


def test_a_difference_is_seen_where_there_is_one_and_not_where_there_is_none(tmp_path):
    rng = np.random.default_rng(2)
    a, b, c = (profile_of(rng.gamma(9, 0.1, 5000) * f) for f in (1.0, 1.0, 1.1))
    same = {(r["stage"], r["percentile"]): r for r in compare(a, b)}
    other = {(r["stage"], r["percentile"]): r for r in compare(a, c)}
    assert same["act", "p50"]["differs"] is False and other["act", "p50"]["differs"] is True
    low, high = other["act", "p50"]["interval_ms"]
    assert 0 < low < other["act", "p50"]["difference_ms"] < high
    files = []
    for name, document in (("a", a), ("c", c)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps({**document, "engine": name}))
    app = typer.Typer()
    compare_command.add(app)
    done = CliRunner().invoke(app, [*map(str, files), "--json"])
    found = json.loads(done.stdout)
    assert len(found["rows"]) == 2 * 3 and found["notes"] == ["engine: a against c"]
    people = CliRunner().invoke(app, [*map(str, files)])
    assert "slower" in people.output and "p99.9" in people.output


def test_intervals_of_a_difference_are_wider_than_either():
    assert between(10, (9, 11), 12, (12, 12)) == (1, 3)
    low, high = between(10, (9, 11), 12, (9, 13))
    assert low == pytest.approx(2 - np.hypot(1, 3)) and high == pytest.approx(2 + np.hypot(1, 1))


def test_what_is_no_profile_or_another_machine_is_said(tmp_path):
    path = tmp_path / "x.json"
    for text in ("[]", "{}", '{"stages": {"act": {"p50": 1}}, "fingerprint": {}}'):
        path.write_text(text)
        with pytest.raises(OfpError, match="is no profile"):
            read_profile(path)
    a, b = profile_of([1, 2]), profile_of([1, 2], fingerprint={"cpu": "y", "threads": 1})
    assert beware(a, b) == ["cpu: x against y"]
    assert {row["differs"] for row in compare(a, b)} == {None}
    assert list(PERCENTILES)[0] == "p50"
