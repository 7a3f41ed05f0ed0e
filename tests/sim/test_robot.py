"""The simulated robot is a robot like any other, and refuses a policy that does not fit it."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("metaworld")

from ofp_edge.errors import RobotError, SpecMismatch, UnknownName  # noqa: E402
from ofp_edge.rig.file import RobotEntry  # noqa: E402
from ofp_edge.runtime.robot import EpisodicRobot, open_robot  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from tests.task_spec import spec_of  # noqa: E402

TASK = "metaworld/door-open"
SPEC = spec_of(find_task(TASK))


def opened(spec=SPEC, **options):
    entry = RobotEntry(
        "ofp_edge.sim.robot:SimulatedRobot", {"task": TASK, "world": TASK, **options}
    )
    return open_robot(entry, spec)


def test_a_step_moves_the_hand_where_it_was_told():
    robot = opened(seed=4)
    assert isinstance(robot, EpisodicRobot)
    before = robot.state().values["state"]
    assert before.shape == (4,) and before.dtype == np.float32
    for _ in range(5):
        robot.send(np.array([0.5, 0, 0, 0], np.float32))
    moved = robot.state().values["state"] - before
    assert 0.03 < moved[0] < 0.12 and abs(moved[1]) < 0.02


def test_the_first_episode_is_the_seeds_and_reset_brings_it_back():
    robot = opened(seed=11)
    start = robot.state().values["state"]
    images = robot.world.state(39)
    robot.send(np.ones(4, np.float32))
    robot.reset(11)
    np.testing.assert_array_equal(robot.state().values["state"], start)
    np.testing.assert_array_equal(robot.world.state(39), images)


def test_the_expert_through_the_robot_succeeds():
    robot = opened(spec=spec_of(find_task(TASK), "state"), seed=2)
    assert robot.state().values["state"].shape == (39,)
    while not robot.outcome().over:
        robot.send(robot.world.expert_action())
    assert robot.outcome().success


def test_a_stopped_robot_moves_no_more_until_it_is_reset():
    robot = opened()
    robot.stop()
    robot.stop()
    with pytest.raises(RobotError, match="stopped"):
        robot.send(np.zeros(4, np.float32))
    robot.reset(1)
    robot.send(np.zeros(4, np.float32))
    robot.close()
    robot.close()


def test_a_policy_that_does_not_fit_is_refused_with_expected_and_got():
    with pytest.raises(SpecMismatch, match="control_hz.*expected 20.0, got 10"):
        opened(replace(SPEC, control_hz=10.0))
    with pytest.raises(SpecMismatch, match="action_dim: expected 4, got 3"):
        opened(replace(SPEC, actions=SPEC.actions[:1]))
    hand = replace(SPEC.observations[0], shape=(7,), low=(0.0,) * 7, high=(1.0,) * 7)
    with pytest.raises(SpecMismatch, match="shape"):
        opened(replace(SPEC, observations=(hand,)))
    renamed = replace(SPEC.observations[0], name="joints")
    with pytest.raises(SpecMismatch, match="state fields"):
        opened(replace(SPEC, observations=(renamed,)))
    with pytest.raises(UnknownName, match="unknown task"):
        opened(task="metaworld/dance", world="other")
