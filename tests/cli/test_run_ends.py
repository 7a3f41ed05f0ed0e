"""`ofp-edge run` itself: its exit codes, a terminal that is closed, a log that would hang."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from tests.runtime.ends.processes import Run
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.runtime.still import RIG
from tests.synthetic import CAMERA

HERE = """
[robot]
driver = "tests.runtime.ends.diary_robot:DiaryRobot"
[robot.options]
diary = "DIARY"
wrong = "WRONG"
"""
APART = """
[robot]
driver = "ofp_edge.runtime.robots.remote:RemoteRobot"
[robot.options]
robot = "tests.runtime.ends.diary_robot:DiaryRobot"
max_age_ms = 5000.0
[robot.options.options]
diary = "DIARY"
wrong = "WRONG"
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    spec = make_spec(points=True, horizon=100)
    return write_small_bundle(folder / "small", spec, {"front": CAMERA})


def write_rig(folder: Path, robot: str, wrong: str = "") -> Path:
    entry = robot.replace("DIARY", str(folder / "diary")).replace("WRONG", wrong)
    standing = RIG[RIG.index("[robot]") : RIG.index("[cameras")]
    rig = folder / "rig.toml"
    # No limit of its own may end a run that a busy machine delays.
    safety = "[safety]\nmax_state_age_ms = 5000.0\nmax_stall_ms = 5000.0\n[safety.limits"
    rig.write_text(RIG.replace(standing, entry).replace("[safety.limits", safety))
    return rig


@pytest.fixture
def start(bundle: Path, tmp_path: Path) -> Iterator[Any]:
    runs = []

    def begin(robot: str, *options: str, wrong: str = "", popen: Any = None) -> Run:
        command = [sys.executable, "-m", "ofp_edge", "run", str(bundle), "--rig",
                   str(write_rig(tmp_path, robot, wrong)), "--duration", "inf",
                   *options]  # fmt: skip
        runs.append(Run(tmp_path, command=command, popen=popen))
        runs[-1].wait_for("send", 3)
        return runs[-1]

    yield begin
    for run in runs:
        run.clear()


def test_sigterm_to_every_process_of_a_remote_robot_is_an_orderly_end(
    start: Any, tmp_path: Path
) -> None:
    run = start(APART, "--json", "--log", str(tmp_path / "log.mcap"))
    for role in ("run", "supervisor", "host"):
        os.kill(run.pid(role), signal.SIGTERM)
    assert run.end() == 0, run.err.read_text()
    values = json.loads(run.out.read_text())
    assert values["stopped_because"] == "SIGTERM" and values["slow_sends"] >= 0
    words = run.words()
    assert words[-2:] == ["stop", "close"] and "send" not in words[words.index("stop") :]
    with (tmp_path / "log.mcap").open("rb") as file:
        rows = [json.loads(m.data) for _, c, m in make_reader(file).iter_messages("/event")]
    assert (rows[-1]["what"], rows[-1]["detail"]) == ("stop", "SIGTERM")


@pytest.mark.slow
def test_a_stop_that_nobody_can_confirm_is_exit_code_3(start: Any) -> None:
    run = start(HERE, "--json", wrong="never stop")
    os.kill(run.pid("run"), signal.SIGINT)
    assert run.end() == 3
    error = json.loads(run.out.read_text())["error"]
    assert "stop could not be confirmed: the drive refuses." in error


@pytest.mark.slow
@pytest.mark.parametrize("live", [[], ["--live"]])
@pytest.mark.parametrize("robot", [HERE, APART])
def test_a_closed_terminal_is_an_orderly_end(robot: str, live: list[str], start: Any) -> None:
    master, terminal = os.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    popen = {"stdin": terminal, "stdout": terminal, "stderr": terminal,
             "start_new_session": True, "preexec_fn": own_terminal}  # fmt: skip
    run = start(robot, *live, popen=popen)
    os.close(terminal)
    os.close(master)  # the kernel sends SIGHUP; every write to it fails from now on
    assert run.end() == 0
    words = run.words()
    assert words[-2:] == ["stop", "close"] and "send" not in words[words.index("stop") :]


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("option", ["--log", "--record-calibration"])
def test_a_fifo_or_a_device_is_no_file_to_write(
    option: str, force: list[str], bundle: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path / "link", Path("/dev/null")):
        done = CliRunner().invoke(
            build_app(), ["run", str(bundle), "--rig", str(write_rig(tmp_path, HERE)), option,
                          str(path), *force, "--json"]
        )  # fmt: skip
        line = json.loads(done.stdout)["error"]
        assert done.exit_code == 1 and line.endswith("which is not replaced: name a file.")
    assert not (tmp_path / "diary").exists(), "the robot was never opened"
