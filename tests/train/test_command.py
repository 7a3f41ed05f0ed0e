"""`ofp-edge train`, as typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import typer
from typer.testing import CliRunner

from ofp_edge.cli.train import KEYS, add
from ofp_edge.policy.folder import load_policy


def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    add(made)
    return made


def test_trains_and_says_so_in_json(points_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    arguments = ["train", str(points_data), "-o", str(out), "--preset", "tiny", "--json"]
    more = ["--steps", "20", "--option", "lambda_g=0.05"]
    result = CliRunner().invoke(app(), [*arguments, *more])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document) == set(KEYS)
    assert (document["steps"], document["method"], document["resumed_from"]) == (
        20, "ofp-plus", None,
    )  # fmt: skip
    assert load_policy(out).config.training.step == 20
    assert load_policy(out).config.method_options["lambda_g"] == 0.05


def test_an_option_without_a_number_is_named(points_data: Path, tmp_path: Path) -> None:
    arguments = ["train", str(points_data), "-o", str(tmp_path / "p"), "--option", "lambda_g"]
    result = CliRunner().invoke(app(), [*arguments, "--json"])
    assert result.exit_code == 1
    assert "expected name=number" in json.loads(result.stdout)["error"]


def test_a_users_error_is_one_line_and_exit_1(points_data: Path, tmp_path: Path) -> None:
    arguments = ["train", str(points_data), "-o", str(tmp_path / "p"), "--preset", "huge"]
    result = CliRunner().invoke(app(), [*arguments, "--json"])
    assert result.exit_code == 1
    assert "Known: resnet18, rgb, small, tiny" in json.loads(result.stdout)["error"]


def test_tells_what_it_will_do_and_that_nothing_is_left(points_data: Path, tmp_path: Path) -> None:
    arguments = ["train", str(points_data), "-o", str(tmp_path / "p")]
    first = CliRunner().invoke(app(), [*arguments, "--preset", "tiny", "--steps", "20"])
    assert "11 episodes with 320 windows, 1 held out; steps: 20, of 32 windows" in first.output
    again = CliRunner().invoke(app(), [*arguments, "--resume"])
    assert again.exit_code == 0, again.output
    assert "its 20 steps are done, nothing is left to train" in again.output
    assert "loss" not in again.output
    document = json.loads(CliRunner().invoke(app(), [*arguments, "--resume", "--json"]).stdout)
    assert document["loss"] is None and document["steps"] == document["resumed_from"] == 20


def test_terminated_process_leaves_a_policy_to_resume(points_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    code = (
        "import typer; from ofp_edge.cli.train import add; a = typer.Typer();"
        "a.callback()(lambda: None); add(a); a()"
    )
    arguments = ["train", str(points_data), "-o", str(out), "--preset", "tiny"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--steps", "100000", "--checkpoint-every", "5",
         "--json"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not out.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "--resume goes on" in " ".join(stderr.split())
    document = json.loads(stdout)
    assert set(document) == set(KEYS) and document["interrupted"]
    assert "Traceback" not in stderr
    assert load_policy(out).config.training.step == document["steps"] >= 5
    assert (out / "training" / "state.json").exists()
