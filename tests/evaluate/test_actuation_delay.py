"""A simulated robot that moves later than it is told, and a rig that says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

pytest.importorskip("metaworld")
pytest.importorskip("onnxruntime")

from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.errors import RigError, RobotError  # noqa: E402
from ofp_edge.evaluate.closed_loop import Evaluator, Job, evaluation_seeds  # noqa: E402
from ofp_edge.rig.file import Rig, read_rig  # noqa: E402
from ofp_edge.sim.fields import action_fields, observation_fields  # noqa: E402
from ofp_edge.sim.robot import SimulatedRobot  # noqa: E402
from ofp_edge.sim.simulator import ManualClock  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from ofp_edge.spec import PolicySpec  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402

TASK = find_task("planar/obstacle")
SPEC = PolicySpec(observation_fields(TASK, "state"), action_fields(TASK), 1, 12, 4, TASK.control_hz)
SEED = evaluation_seeds(0, 4)[3]
RIG = """
schema_version = 1
[robot]
driver = "ofp_edge.sim.robot:SimulatedRobot"
[timing]
latency_ms = 50.0
max_plan_age_ms = 450.0
cross_fade_steps = 2
[safety]
max_cut_in_a_row = 1000
[safety.limits.hand]
max_velocity = 0.3
max_acceleration = 3.0
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delay") / "bundle"
    return write_small_bundle(folder, SPEC, {}, committed_steps=6)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    (tmp_path / "rig.toml").write_text(RIG)
    return read_rig(tmp_path / "rig.toml")


def delayed(rig: Rig, delay_ms: float) -> Rig:
    return replace(rig, timing=replace(rig.timing, actuation_delay_ms=delay_ms))


def way(bundle: Path, rig: Rig | None, latency_ms: float, robot_ms: float) -> NDArray[np.float32]:
    """Where the hand is after each control step of one episode."""
    evaluator = Evaluator(Job(bundle, TASK.name, latency_ms=latency_ms, rig=rig,
                              robot_delay_ms=robot_ms))  # fmt: skip
    places: list[NDArray[np.float32]] = []
    world = evaluator.simulator.world
    evaluator.run(SEED, lambda: places.append(world.state(6)[:2]))
    evaluator.close()
    return np.array(places)


def test_a_delay_that_the_rig_knows_is_so_much_more_latency_and_nothing_else(
    bundle: Path, rig: Rig
) -> None:
    """Bit for bit, with limits, cross-fade and a committed prefix: the hand goes the same way on a
    robot that moves 100 ms late at L = 50 ms as on one that moves at once at L = 150 ms."""
    at_once = way(bundle, rig, 150.0, 0.0)
    known = way(bundle, delayed(rig, 100.0), 50.0, 100.0)
    unknown = way(bundle, rig, 50.0, 100.0)
    count = min(map(len, (at_once, known, unknown)))
    assert count > 15 and np.ptp(at_once, axis=0).max() > 0.05
    np.testing.assert_array_equal(known[:count], at_once[:count])
    assert not np.array_equal(unknown[:count], at_once[:count])


def test_the_simulated_robot_stays_until_its_delay_is_over() -> None:
    def places(delay_ms: float) -> list[float]:
        robot = SimulatedRobot(
            SPEC, task=TASK.name, world=f"late {delay_ms}", delay_ms=delay_ms, clock=ManualClock()
        )
        found = []
        for _ in range(5):
            robot.send(np.array([0.1, 0.0], np.float32))
            found.append(float(robot.world.state(6)[0]))
        robot.stop()
        robot.reset(0)
        robot.send(np.zeros(2, np.float32))
        assert robot.world.steps == 1
        return found

    now, late = places(0.0), places(100.0)
    assert late[0] == late[1] and late[2:] == now[:3]


@pytest.mark.parametrize("delay_ms", [-50.0, 30.0, float("nan"), float("inf")])
def test_a_delay_of_no_whole_control_steps_is_one_line(delay_ms: float) -> None:
    with pytest.raises(RobotError, match=r"delay_ms: expected whole control steps of 50 ms, got"):
        SimulatedRobot(SPEC, task=TASK.name, world="odd", delay_ms=delay_ms)


def test_a_latency_that_no_schedule_meets_is_refused_before_anything_is_run(
    bundle: Path, rig: Rig
) -> None:
    job = Job(bundle, TASK.name, latency_ms=300.0, rig=delayed(rig, 150.0))
    with pytest.raises(RigError, match=r"latency_ms: expected at most 250 ms .*actuation_delay_ms"):
        job.controller(SPEC)


def test_each_limit_is_counted(bundle: Path, rig: Rig) -> None:
    evaluator = Evaluator(Job(bundle, TASK.name, latency_ms=100.0, rig=rig))
    episode: Any = evaluator.run(SEED)
    evaluator.close()
    assert set(episode.cuts) <= {"hand: velocity", "hand: acceleration", "hand: range"}
    assert 0 < max(episode.cuts.values()) <= episode.limited <= sum(episode.cuts.values())


@pytest.mark.parametrize(
    ("options", "faded"), [([], [0, 0, 0, 0]), (["--no-committed"], [5, 5, 5, 3])]
)
def test_each_latency_of_a_rig_says_success_jump_jerk_and_which_limits_cut(
    bundle: Path, rig: Rig, tmp_path: Path, options: list[str], faded: list[int]
) -> None:
    """Four latencies in one command, with the cross-fade that `run` would have at each."""
    text = RIG.replace("cross_fade_steps = 2\n", "actuation_delay_ms = 50.0\n")
    rig.path.write_text(text)
    arguments = ["eval", str(bundle), "--task", TASK.name, "--rig", str(rig.path), "--workers", "1",
                 "--episodes", "1", "--robot-delay-ms", "50"]  # fmt: skip
    told = "--no-committed" not in options
    several = [
        *arguments,
        *options,
        "--latency-ms",
        "0,50,100,200",
        "-o",
        str(tmp_path / "eval.json"),
    ]
    done = CliRunner().invoke(build_app(), several, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "eval.json").read_text())
    assert (document["actuation_delay_ms"], document["robot_delay_ms"]) == (50.0, 50.0)
    rows = document["by_latency"]
    assert [row["latency_ms"] for row in rows] == [0.0, 50.0, 100.0, 200.0]
    assert [row["cross_fade_steps"] for row in rows] == faded
    for row in rows:
        assert row["chunk_boundary_jump"] > 0 and row["jerk"] > 0 and 0 <= row["success"] <= 1
        most = max(row["cuts"].values(), default=0)  # a told plan may be cut nowhere
        assert (0 if told else 1) <= most <= row["limited"] <= row["ticks"]
        assert told or "hand: velocity" in row["cuts"]
        for limit, count in row["cuts"].items():
            share = 100 * count / row["ticks"]
            assert f"{limit} {share:.1f} %" in " ".join(done.output.split())
    assert any(row["cuts"] for row in rows)
    assert [row["misses"] > 0 for row in rows] == [True, False, False, False]
    assert "robot's delay        50 ms, actuation_delay_ms 50 ms" in done.output
    assert done.output.count("cross-fade") == 4 and "limited, %" in done.output
    refused = CliRunner().invoke(build_app(), [*arguments, "--latency-ms", "0,400", "--json"])
    assert "L = 400 ms: " in (error := json.loads(refused.stdout)["error"])
    assert "latency_ms: expected at most 350 ms" in error
