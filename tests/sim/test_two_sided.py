"""A Meta-World task with two ways: the expert goes round the post, and a hand in it has failed."""

import numpy as np
import pytest

pytest.importorskip("metaworld")

from ofp_edge.sim.fields import observation_fields  # noqa: E402
from ofp_edge.sim.open import open_world, shared_world  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402

NAME = "metaworld/button-press-topdown-two-sided"
DETOUR = find_task(NAME).detour


@pytest.fixture
def world():
    return shared_world(NAME, NAME)


def demonstration(world, seed):
    """The expert's episode: hand's way (K, 2), actions, and where it was undecided."""
    world.reset(seed)
    ways, actions, undecided = [world.state(39)[:2]], [], []
    while not world.over:
        if world.undecided:
            undecided.append((len(actions), world.place))
        actions.append(world.expert_action())
        world.step(actions[-1])
        ways.append(world.state(39)[:2])
    return np.stack(ways).astype(np.float64), np.stack(actions), undecided


def test_the_expert_succeeds_round_both_sides_and_its_plans_say_so_from_the_start(world):
    sides = []
    for seed in range(10):
        way, actions, undecided = demonstration(world, seed)
        assert world.success
        lateral = world.sides.lateral(way)
        assert abs(lateral) > DETOUR.pass_m / 2
        sides.append(np.sign(lateral))
        assert undecided[0][0] == 0 and len(undecided) >= 2
        for k, place in undecided:
            assert world.sides.side(world.plan_path(actions[k : k + 8], place)) == sides[-1]
    assert set(sides) == {-1.0, 1.0}


def test_what_is_seen_at_the_start_is_the_plain_tasks_and_tells_the_post(world):
    plain = shared_world("metaworld/button-press-topdown", "metaworld/button-press-topdown")
    for seed in range(5):
        world.reset(seed)
        plain.reset(seed)
        np.testing.assert_array_equal(world.state(39), plain.state(39))
        hand, button = world.state(39)[:2], world.state(39)[4:6]
        ahead = (button - hand) / np.linalg.norm(button - hand)
        np.testing.assert_allclose(world.sides.centre, hand + DETOUR.ahead_m * ahead, atol=1e-6)
        assert plain.sides is None and plain.plan_side(np.zeros((8, 4), np.float32)) is None


def test_a_hand_that_goes_straight_has_failed(world):
    world.reset(3)
    x, y = world.sides.forward
    straight = np.array([x, y, 0.0, 0.0], np.float32)
    assert world.plan_side(np.tile(straight, (8, 1))) == 0
    while not world.over:
        world.step(straight)
    assert world.failed and not world.success and world.steps < 20


def test_a_task_that_is_told_succeeds_on_the_side_that_words_name():
    name = "metaworld/button-press-topdown-told"
    world = open_world(find_task(name))
    left, right = world.task.instructions
    told = []
    for seed in range(12):
        way, _, undecided = demonstration(world, seed)
        told.append(world.instruction)
        assert world.success and undecided == []
        assert (world.sides.lateral(way) > 0) == (told[-1] == right)
    assert set(told) == {left, right}
    for seed in (told.index(left), told.index(right)):
        world.reset(seed)
        while not world.over:
            world.step(mirrored(world))
        assert world.failed and not world.success


def mirrored(world):
    """What the expert would do if words had named the other side."""
    world._pass = -world._pass
    action = world.expert_action()
    world._pass = -world._pass
    return action


def test_nothing_but_words_tells_the_side(world):
    told = find_task("metaworld/button-press-topdown-told")
    for observe in ("state", "rgb", "depth"):
        *seen, words = observation_fields(told, observe)
        assert words.choices == told.instructions
        assert tuple(seen) == observation_fields(world.task, observe)
    assert world.instruction is None and not told.two_sided
