"""A state that goes further than the network sees is said, once a number, and counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from ofp_edge.manifest import StateBounds
from ofp_edge.runtime.infer.beyond import Beyond
from ofp_edge.runtime.infer.inference import Inference
from tests.runtime.openpi.serving import serving, stamped, theirs, until
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import DT, ROWS, make_runners, make_spec
from tests.runtime.still import RIG
from tests.sealed import seal
from tests.synthetic import CAMERA

BOUNDS = {"state": StateBounds((-1.0, -2.0, 0.0, -1.0), (1.0, 2.0, 4.0, 1.0))}


def look(beyond: Beyond, *states: tuple[float, ...]) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    beyond.remarks.listen(lambda what, detail: said.append((what, detail)))
    for state in states:
        beyond.look({"state": np.array(state, np.float32), "points": np.full((3, 4), 1e9)})
    return said


def test_at_the_bounds_and_within_nothing_is_said() -> None:
    beyond = Beyond(BOUNDS)
    assert look(beyond, (0, 0, 2, 0), (-1, 2, 4, 1), (1, -2, 0, -1)) == []
    assert beyond.passed == [] and beyond.frames == 3


@pytest.mark.parametrize("value", [-1.01, 1.5, 3e38, -np.inf])
def test_a_number_beyond_is_said_once_and_counted_each_time(value: float) -> None:
    beyond = Beyond(BOUNDS)
    said = look(beyond, (value, 0, 2, 0), (0, 0, 2, 0), (value, 0, 2, 0))
    assert [what for what, _ in said] == ["state[0]"]
    end = "-1" if value < 0 else "1"
    assert said[0][1].startswith(f"state[0] is {np.float32(value):.4g}, far outside of what was ")
    assert said[0][1].endswith(f"; the network takes it for {end}")
    (found,) = beyond.passed
    assert (found.number, found.frames, found.of) == ("state[0]", 2, 3)
    assert (found.low, found.high) == (-1.0, 1.0)
    assert found.furthest == np.float32(value)


def test_the_furthest_value_is_kept_on_either_side_and_the_most_frequent_number_is_first() -> None:
    beyond = Beyond(BOUNDS)
    look(beyond, (1.5, 0, 5, 0), (-2, 0, 2, 0), (1.7, 0, 2, 0), (-1.1, 0, 2, 0))
    assert [(x.number, x.frames, x.furthest) for x in beyond.passed] == [
        ("state[0]", 4, -2.0),
        ("state[2]", 1, 5.0),
    ]


def test_a_number_is_called_as_its_robot_calls_it() -> None:
    beyond = Beyond(BOUNDS)
    beyond.names = {"state": ["pan", "x1", "elbow", "x3"]}
    look(beyond, (2, 3, 5, 0))
    assert {x.number for x in beyond.passed} == {"state[0] (pan)", "state[1]", "state[2] (elbow)"}


def test_a_bundle_that_says_no_bounds_has_nothing_to_say() -> None:
    beyond = Beyond({})
    assert look(beyond, (1e9,) * 4) == [] and beyond.passed == []


def test_every_stream_over_the_same_engines_counts_its_own() -> None:
    spec = make_spec()
    one = Inference(spec, *make_runners(spec), ROWS, 0, state_bounds=BOUNDS)
    other = one.another(1)
    one.observe(0, {"state": np.full(4, 9, np.float32)})
    other.observe(0, {"state": np.zeros(4, np.float32)})
    assert len(one.beyond.passed) == 4 and other.beyond.passed == []
    one.reset()
    one.observe(DT, {"state": np.zeros(4, np.float32)})
    assert one.beyond.frames == 2 and len(one.beyond.passed) == 4


def test_a_server_says_which_client_is_beyond() -> None:
    spec = make_spec(n_obs_steps=2)
    brain = Inference(spec, *make_runners(spec), ROWS, 0, state_bounds=BOUNDS)
    with serving(spec, inference=brain) as running:
        client = theirs(running)
        for i in range(3):
            client.infer(stamped(np.array([0, 0, 2, 7.5], np.float32), i * DT))
        until(lambda: bool(running.lines))
    (line,) = [x for x in running.lines if "beyond training" in x]
    assert line.startswith("127.0.0.1:") and "state[3] is 7.5" in line


def bounded(folder: Path, high: float) -> Path:
    spec = make_spec(points=True, horizon=100)
    bundle = write_small_bundle(folder / "small", spec, {"front": CAMERA})
    seal(bundle, lambda value: value.update(
        state_bounds={"state": {"low": [-high] * 4, "high": [high] * 4}}))  # fmt: skip
    return bundle


@pytest.mark.parametrize("high", [1e-3, 1e3])
def test_a_run_says_it_in_the_terminal_in_the_log_and_at_the_end(
    tmp_path: Path, high: float
) -> None:
    bundle, rig, log = bounded(tmp_path, high), tmp_path / "rig.toml", tmp_path / "run.mcap"
    rig.write_text(RIG)
    run = subprocess.run(
        [sys.executable, "-m", "ofp_edge", "run", str(bundle), "--rig", str(rig), "--duration",
         "1.5", "--log", str(log), "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
        text=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)["beyond_training"]
    with log.open("rb") as file:
        rows = [json.loads(m.data) for _, c, m in make_reader(file).iter_messages("/event")]
    said = [row["detail"] for row in rows if row["what"] == "beyond training"]
    assert len(said) == len(found) == run.stderr.count("beyond training: ")
    assert bool(found) == (high < 1)
    for x in found:
        assert x["frames"] > 5 and not x["low"] <= x["furthest"] <= x["high"]
