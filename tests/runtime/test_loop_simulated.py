"""The loop on the simulator, in real time: a tick sees the world before its own action."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("metaworld")
pytest.importorskip("pyrealsense2")
pytest.importorskip("onnxruntime")

from examples.my_robot import MyRobot  # noqa: E402
from ofp_edge.bundle import open_bundle  # noqa: E402
from ofp_edge.errors import OfpError, RigError, SpecMismatch  # noqa: E402
from ofp_edge.runtime.control.loop import Limits  # noqa: E402
from ofp_edge.runtime.infer.load import load_inference  # noqa: E402
from ofp_edge.runtime.log.reader import LogReader  # noqa: E402
from ofp_edge.runtime.replay import ReplayReport, controller_of, replay  # noqa: E402
from ofp_edge.runtime.run_files import Request, read_run  # noqa: E402
from ofp_edge.runtime.session import open_session  # noqa: E402
from ofp_edge.sim.fields import action_fields, observation_fields  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from ofp_edge.spec import PolicySpec  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402
from tests.runtime.test_telemetry import rows_of  # noqa: E402

TASK = find_task("metaworld/door-open")
SPEC = PolicySpec(observation_fields(TASK, "depth"), action_fields(TASK), 2, 16, 4, TASK.control_hz)
RIG = """
schema_version = 1
[robot]
driver = "ofp_edge.sim.robot:SimulatedRobot"
[robot.options]
task = "metaworld/door-open"
[cameras.front]
driver = "ofp_edge.sim.camera:SimulatedCamera"
max_age_ms = 400.0
[cameras.front.options]
task = "metaworld/door-open"
[timing]
latency_ms = {latency}
max_plan_age_ms = 800.0
[safety.limits.hand]
max_velocity = 1.4
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sim") / "bundle"
    return write_small_bundle(folder, SPEC, {"front": TASK.view.parameters()})


def rig_file(tmp_path: Path, latency_ms: float = 100.0, text: str = RIG) -> Path:
    path = tmp_path / "rig.toml"
    path.write_text(text.format(latency=latency_ms))
    return path


def test_what_is_seen_at_a_tick_is_the_world_before_the_action_of_that_tick(
    bundle: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.mcap"
    with open_session(read_run(Request(bundle, rig_file(tmp_path), log=log))) as session:
        robot: Any = session.loop.robot
        sent: list[np.ndarray] = []
        send = robot.send

        def watch(action: np.ndarray) -> None:
            send(action)
            sent.append(action)

        robot.send = watch
        report = session.loop.run(Limits(duration_s=2.0))
    rows = rows_of(log)
    assert report.fault is None and len(rows["/command"]) == session.loop.controller.counters.ticks
    assert len(sent) > 5 and rows["/thumbnail/front"]
    # n sends have executed n - 1 actions: the last one is still to come.
    assert robot.world.steps == len(sent) - 1
    # The run may end between the last plan and the tick that would have heard of it.
    assert 0 <= len(rows["/plan"]) - session.loop.controller.counters.plans <= 1


def test_a_dry_run_moves_nothing(bundle: Path, tmp_path: Path) -> None:
    with open_session(read_run(Request(bundle, rig_file(tmp_path)))) as session:
        robot: Any = session.loop.robot
        steps = robot.world.steps
        session.loop.run(Limits(duration_s=2.0, dry_run=True))
        assert robot.world.steps == steps and session.loop.controller.counters.acted > 3
        age_ms = session.rig.safety.max_state_age_ms
        assert session.loop.planner.states.max_apart_ns == age_ms * 1e6


def test_a_users_own_robot_replaces_the_rigs_one(bundle: Path, tmp_path: Path) -> None:
    request = Request(bundle, rig_file(tmp_path), robot="examples.my_robot:MyRobot")
    with open_session(read_run(request)) as session:
        robot: Any = session.loop.robot
        before = robot.state().values["state"]
        report = session.loop.run(Limits(duration_s=2.0))
        assert type(robot).__name__ == "MyRobot" and not session.loop.episodic
        assert report.fault is None and (robot.state().values["state"] != before).any()


class RangedRobot(MyRobot):
    """A hand that can be told a cube of 2 cm about its start, and no other place."""

    goal_range = (-0.01, 0.59, 0.19, -1.0), (0.01, 0.61, 0.21, 0.5)


def test_what_the_robot_can_be_told_limits_its_run_and_stands_in_the_log(
    bundle: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.mcap"
    rig = rig_file(tmp_path, text=RIG + 'measured = "state"\n')
    robot = "tests.runtime.test_loop_simulated:RangedRobot"
    with open_session(read_run(Request(bundle, rig, robot=robot, log=log))) as session:
        controller: Any = session.loop.controller
        safety = controller._safety.entry
    (hand, gripper) = SPEC.actions
    assert safety.limits_of(hand).position_high == (0.01, 0.61, 0.21)
    assert safety.narrowed(SPEC).actions[1].high == (0.5,) != gripper.high
    again: Any = controller_of(LogReader(log).header)
    assert again._safety.entry == safety == session.rig.safety


def test_a_rig_that_does_not_fit_is_refused_before_anything_moves(
    bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(RigError, match="latency_ms: expected at most 600 ms"):
        with open_session(read_run(Request(bundle, rig_file(tmp_path, latency_ms=650.0)))):
            pass
    other = RIG + (
        "[cameras.front.parameters]\nT_base_camera = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0],"
        " [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]\n"
    )
    with pytest.raises(SpecMismatch, match="'front', pose: expected within 10 mm"):
        with open_session(read_run(Request(bundle, rig_file(tmp_path, text=other)))):
            pass


def started(bundle: Path, tmp_path: Path, log: Path) -> subprocess.Popen[str]:
    """A run of its own, of which more than a few ticks are in its log already."""
    arguments = ["run", str(bundle), "--rig", str(rig_file(tmp_path)), "--log", str(log), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ofp_edge", *arguments, "--duration", "120", "--nfe", "auto"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "Ctrl-C stops" in line:
            break
    for _ in range(600):  # how long a second's rows take is the machine's affair
        with contextlib.suppress(OfpError):  # nothing readable yet
            if sum(1 for _ in LogReader(log).rows("/command")) > 5:
                return process
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    raise AssertionError("no rows in the log for a minute")


def replayed(bundle: Path, log: Path) -> ReplayReport:
    reader = LogReader(log)
    header = reader.header
    inference = load_inference(open_bundle(bundle), header["engine"], header["precision"],
                               seed=header["seed"], nfe=header["nfe"])  # fmt: skip
    try:
        return replay(reader, inference)
    finally:
        inference.close()


def test_sigterm_ends_a_run_cleanly_with_a_report_and_a_log_that_replays(
    bundle: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.mcap"
    process = started(bundle, tmp_path, log)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["stopped_because"] == "SIGTERM" and document["ticks"] > 3
    assert document["log_rows_lost"] == 0
    assert len(rows_of(log)["/command"]) == document["ticks"]
    report = replayed(bundle, log)
    assert report.same and report.whole and report.ticks == document["ticks"]


def test_sigkill_leaves_a_log_that_replays_to_its_last_second(bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.mcap"
    process = started(bundle, tmp_path, log)
    process.kill()
    process.communicate(timeout=60)
    report = replayed(bundle, log)
    assert report.ticks_same == report.ticks > 3 and not report.whole
    assert report.missing_rows == 0
