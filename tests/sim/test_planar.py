"""planar/obstacle: repeatable, two-sided, its side hidden; its expert never collides."""

import numpy as np
import pytest

from ofp_edge.errors import OfpError, RobotError, SpecMismatch
from ofp_edge.sim.fields import observation_fields
from ofp_edge.sim.open import open_world
from ofp_edge.sim.tasks import find_task
from tests.task_spec import spec_of

TASK = find_task("planar/obstacle")


@pytest.fixture
def world():
    return open_world(TASK)


def demonstration(world, seed, noise=0.0):
    """Positions (K, 2) and the actions between them."""
    random = np.random.default_rng(seed)
    world.reset(seed)
    places, actions = [world.place], []
    while not world.over:
        action = world.expert_action()
        actions.append(action)
        world.step(action + noise * random.standard_normal(2).astype(np.float32))
        places.append(world.place)
    return np.stack(places), np.stack(actions)


def test_a_seed_gives_the_same_episode_whatever_came_before(world):
    first = demonstration(open_world(TASK, 99), 5, 0.1)
    demonstration(world, 1)
    again = demonstration(world, 5, 0.1)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_expert_reaches_the_goal_round_both_sides_and_never_collides(world):
    sides = []
    for seed in range(300):
        places, _ = demonstration(world, seed, noise=TASK.noise)
        assert world.success and not world.failed and world.steps < TASK.max_steps
        sides.append(world.sides.lateral(places))
    right = np.mean(np.array(sides) > 0)
    assert 0.45 < right < 0.65
    assert np.abs(sides).min() > TASK.pass_m[0] / 2  # none between the two


def test_nothing_that_is_seen_before_the_swerve_tells_the_side(world):
    """The best linear guess from the start's state is no better than the majority."""
    states, sides = [], []
    for seed in range(400):
        world.reset(seed)
        state = world.state(6)
        states.append(np.append(state, 1.0))
        places, _ = demonstration(world, seed)
        sides.append(np.sign(world.sides.lateral(places)))
    fit = np.linalg.lstsq(np.array(states[:200]), np.array(sides[:200]), rcond=None)[0]
    guessed = np.sign(np.array(states[200:]) @ fit)
    assert np.mean(guessed == np.array(sides[200:])) < 0.65


def test_every_plan_of_eight_steps_from_a_decision_state_reaches_past_the_obstacle(world):
    reached = []
    for seed in range(100):
        world.reset(seed)
        _, actions = demonstration(world, seed)
        world.reset(seed)
        side = None
        for k in range(len(actions)):
            told = world.plan_side(actions[k : k + 8])
            if world.undecided:
                assert told in (-1, 1) and side in (None, told)
                side = told
                reached.append(told)
            elif world.place[1] >= world.sides.centre[1]:
                assert told is None  # past it
            world.step(actions[k])
    assert len(reached) > 100 and set(reached) == {-1, 1}


def test_a_plan_straight_ahead_collides_and_a_short_one_does_not_count(world):
    ahead = np.tile(np.array([0.0, 1.0], np.float32), (8, 1))
    assert world.plan_side(ahead) == 0
    assert world.plan_side(ahead[:1]) is None
    assert world.plan_side(np.zeros((8, 2), np.float32)) is None


def test_the_path_of_a_plan_is_the_way_the_hand_goes(world):
    actions = np.random.default_rng(0).uniform(-1.5, 1.5, (8, 2)).astype(np.float32)
    planned = world.plan_path(actions)
    went = [world.place]
    for action in actions:
        world.step(action)
        went.append(world.place)
    np.testing.assert_allclose(planned, np.stack(went), atol=1e-6)


def test_running_into_the_obstacle_ends_the_episode_as_failed(world):
    while not world.over:
        world.step(np.array([0.0, 1.0], np.float32))
    assert world.failed and not world.success and world.steps < TASK.max_steps
    world.reset(0)
    assert not world.failed and not world.over


def test_wrong_states_actions_and_observations_are_refused(world):
    with pytest.raises(SpecMismatch, match="expected .6,., got 39"):
        world.state(39)
    with pytest.raises(RobotError, match="2 finite numbers"):
        world.step(np.zeros(4, np.float32))
    with pytest.raises(OfpError, match="planar/obstacle has no camera. Give --obs state"):
        observation_fields(TASK, "depth")
    assert spec_of(TASK, "state").action_dim == 2


def test_it_is_collected_like_any_other_task(tmp_path):
    pytest.importorskip("zarr")
    from ofp_edge.data.open import open_dataset
    from ofp_edge.sim.collect import collect_demonstrations

    done = collect_demonstrations("planar/obstacle", 5, tmp_path / "d", observe="state")
    dataset = open_dataset(done.dataset)
    assert dataset.episodes == 5 and dataset.action.shape == (done.steps, 2)
    assert dataset.fields["state"].shape == (done.steps, 6)
    with pytest.raises(OfpError, match="no camera"):
        collect_demonstrations("planar/obstacle", 5, tmp_path / "e")
