"""Same seed, same episode, bit for bit; and the traps of Meta-World's reset are closed."""

import sys

import numpy as np
import pytest

pytest.importorskip("metaworld")

from scipy.spatial.transform import Rotation  # noqa: E402

from ofp_edge.errors import RobotError, SpecMismatch  # noqa: E402
from ofp_edge.sim.metaworld import MetaWorld, _Rotation  # noqa: E402
from ofp_edge.sim.open import shared_world  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402

NAMES = ("door-open", "window-open", "pick-place", "peg-insert-side", "drawer-close")


def rollout(world, seed, steps=12):
    random = np.random.default_rng(seed)
    world.reset(seed)
    states = [world.state(39)]
    for _ in range(steps):
        action = world.expert_action()
        action[:3] += 0.3 * random.standard_normal(3).astype(np.float32)
        world.step(action)
        states.append(world.state(39))
    return np.stack(states), world.data.qpos.copy()


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_episode_whatever_came_before(name):
    task = find_task(f"metaworld/{name}")
    fresh = rollout(MetaWorld(task, seed=99), 5)
    used = MetaWorld(task)
    rollout(used, 1, steps=30)
    for _ in range(2):
        again = rollout(used, 5)
        np.testing.assert_array_equal(again[0], fresh[0])
        np.testing.assert_array_equal(again[1], fresh[1])


def test_seeds_give_different_layouts():
    world = shared_world("metaworld/door-open", "metaworld/door-open")
    starts = []
    for seed in range(8):
        world.reset(seed)
        starts.append(tuple(world.state(39)[4:7]))
    assert len(set(starts)) == 8


def test_the_full_state_shows_the_goal_and_the_object_where_they_are_now():
    world = MetaWorld(find_task("metaworld/door-open"))
    world.reset(3)
    state = world.state(39)
    assert np.abs(state[-3:]).max() > 0.1  # hidden or clipped, it would be zero
    np.testing.assert_array_equal(state[:18], state[18:36])  # nothing of the last episode
    np.testing.assert_array_equal(world.state(4), state[:4])
    world.step(world.expert_action())  # Meta-World clips what a step returns
    np.testing.assert_array_equal(world.state(39)[-3:], state[-3:])


@pytest.mark.parametrize("name", ["window-open", "drawer-open"])
def test_after_a_reset_everything_is_where_the_new_layout_put_it(name):
    world = MetaWorld(find_task(f"metaworld/{name}"))
    rollout(world, 1)
    world.reset(5)
    seen, places = world.state(39), world.data.geom_xpos.copy()
    world._mujoco.mj_forward(world.model, world.data)
    np.testing.assert_array_equal(world.data.geom_xpos, places)
    np.testing.assert_array_equal(world._env._get_obs()[:18].astype(np.float32), seen[:18])


def test_the_expert_opens_the_door_and_the_episode_is_over():
    world = shared_world("metaworld/door-open", "metaworld/door-open")
    solved = 0
    for seed in range(10):
        world.reset(seed)
        assert not world.over and not world.success
        while not world.over:
            world.step(world.expert_action())
        assert world.steps <= world.task.max_steps
        solved += world.success
    assert solved >= 9


def test_an_episode_that_does_nothing_fails_when_its_steps_are_used_up():
    world = shared_world("metaworld/door-open", "metaworld/door-open")
    world.reset(0)
    while not world.over:
        world.step(np.zeros(4, np.float32))
    assert not world.success and world.steps == world.task.max_steps


@pytest.mark.parametrize("action", [np.full(4, np.nan), np.zeros(3), np.full(4, np.inf)])
def test_a_wrong_action_is_refused(action):
    world = shared_world("metaworld/door-open", "metaworld/door-open")
    before = world.version
    with pytest.raises(RobotError, match="4 finite numbers"):
        world.step(action.astype(np.float32))
    assert world.version == before


def test_a_shared_world_is_one_world_and_of_one_task():
    first = shared_world("metaworld/door-open", "metaworld/door-open")
    assert shared_world("metaworld/door-open", "metaworld/door-open") is first
    with pytest.raises(
        SpecMismatch, match="expected metaworld/door-open, got metaworld/door-close"
    ):
        shared_world("metaworld/door-open", "metaworld/door-close")


@pytest.mark.parametrize("name", ["pick-place", "stick-push"])
def test_the_gripper_touches_what_metaworld_says_it_touches(name):
    world = MetaWorld(find_task(f"metaworld/{name}"), seed=2)
    env = world._env
    touched = set()
    for _ in range(60):
        world.step(world.expert_action())
        for geom in range(world.model.ngeom):
            theirs = bool(type(env).touching_object(env, geom))
            assert env.touching_object(geom) == theirs
            touched.add((geom, theirs))
    assert {theirs for _, theirs in touched} == {True, False}


@pytest.mark.parametrize("name", ["door-open", "reach", "shelf-place", "stick-push"])
def test_an_objects_rotation_is_what_metaworld_says_it_is(name):
    world = MetaWorld(find_task(f"metaworld/{name}"), seed=2)
    module = sys.modules[type(world._env).__module__]
    ours, seen = module.Rotation, []
    assert ours is not Rotation
    for _ in range(30):
        world.step(world.expert_action())
        quaternions = []
        for rotation in (ours, Rotation):
            module.Rotation = rotation
            quaternions.append(np.array(world._env._get_quat_objects()))
        module.Rotation = ours
        np.testing.assert_array_equal(*quaternions)
        seen.append(quaternions[0])
    assert np.isfinite(seen).all()


def test_a_scipy_that_always_asks_is_left_to_ask():
    class Older:
        @staticmethod
        def from_matrix(matrix):
            return "asked", matrix

    matrix = np.eye(3)
    assert _Rotation(Older).from_matrix(matrix) == ("asked", matrix)
